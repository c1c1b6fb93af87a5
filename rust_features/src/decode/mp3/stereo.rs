//! Two channels that were coded as one with two gains: ISO 11172-3, 2.4.3.4.9; ISO 13818-3, 2.4.3.2.

use std::f32::consts::{PI, SQRT_2};

use super::bands::Bands;
use super::huffman::LINES;
use super::scale_factors::Factors;

/// How the channels of a granule were coded.
pub struct Intensity<'a> {
    /// Of the left channel.
    pub bands: &'a Bands,
    /// Of each band; one that the standard has no place for stands for none.
    pub positions: Factors,
    /// Whether positions are angles, as in MPEG 1; otherwise steps of one channel.
    pub angles: bool,
    /// Whether these are steps of 3 dB, not of 1.5.
    pub wide_steps: bool,
    /// Whether the bands below are mean and difference.
    pub mid_side: bool,
}

impl Intensity<'_> {
    /// Makes left and right of what was coded, in all bands. The right channel is so coded above its
    /// last band that is not zero, each window of short blocks on its own.
    pub fn apply(mut self, left: &mut [f32; LINES], right: &mut [f32; LINES]) {
        let last = self.last_coded(right);
        self.complete(last);
        let mut from = 0;
        for (band, &width) in self.bands.widths.iter().enumerate() {
            let lines = from..from + width;
            from += width;
            let pairs = left[lines.clone()].iter_mut().zip(&mut right[lines]);
            if band as isize > last[band % 3]
                && let Some([to_left, to_right]) = self.gains(self.positions[band])
            {
                pairs.for_each(|(l, r)| (*l, *r) = (*l * to_left, *l * to_right));
            } else if self.mid_side {
                pairs.for_each(|(m, s)| (*m, *s) = (*m + *s, *m - *s));
            }
        }
    }

    /// The last band of each window that is not zero in the right channel, or -1.
    fn last_coded(&self, right: &[f32; LINES]) -> [isize; 3] {
        let mut last = [-1; 3];
        let mut from = 0;
        for (band, &width) in self.bands.widths.iter().enumerate() {
            if right[from..from + width].iter().any(|&line| line != 0.0) {
                last[band % 3] = band as isize;
            }
            from += width;
        }
        if self.bands.n_long > 0 {
            last = [last[0].max(last[1]).max(last[2]); 3];
        }
        last
    }

    /// The highest band has no position: it has that of the band below, if this one is so coded too.
    fn complete(&mut self, last: [isize; 3]) {
        let n_windows = if self.bands.n_short() > 0 { 3 } else { 1 };
        for (window, &last) in last.iter().enumerate().take(n_windows) {
            let top = self.bands.widths.len() - n_windows + window;
            let below = top - n_windows;
            let middle = if self.angles { 3 } else { 0 };
            let coded = last >= below as isize;
            self.positions[top] = if coded { middle } else { self.positions[below] };
        }
    }

    fn gains(&self, position: u8) -> Option<[f32; 2]> {
        // What was coded as mean and difference has been divided by the root of 2.
        let all = if self.mid_side { SQRT_2 } else { 1.0 };
        match (self.angles, position) {
            (true, 6) => Some([all, 0.0]),
            (true, 0..6) => {
                let ratio = (f32::from(position) * PI / 12.0).tan();
                Some([all * ratio / (1.0 + ratio), all / (1.0 + ratio)])
            }
            (false, 0..64) => {
                let step: f32 = if self.wide_steps { -0.5 } else { -0.25 };
                let less = all * (step * f32::from(position.div_ceil(2))).exp2();
                Some(if position % 2 == 1 { [less, all] } else { [all, less] })
            }
            _ => None,
        }
    }
}

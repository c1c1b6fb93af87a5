//! MPEG audio layer III (ISO 11172-3; half the rates: ISO 13818-3; a quarter: "MPEG 2.5") → the mean of
//! the channels.
//!
//! Frames go in one by one, samples come out for several granules at once. What comes before the
//! filter banks is one value after the other: side information, scale factors, Huffman codes. The
//! filter banks work on vectors. All of them are linear, so that channels are added as soon as they
//! mean the same: mostly before the first of them, and then one runs instead of two. Of mean and
//! difference the difference is not even decoded.

mod bands;
mod bits;
mod codes;
mod header;
mod huffman;
mod imdct;
mod reservoir;
mod scale_factors;
mod side_info;
mod stereo;
mod synthesis;
mod window;

pub use header::Header;

use bands::Bands;
use bits::Bits;
use header::HEADER_LEN;
use huffman::{Coded, LINES};
use imdct::{Hybrid, ROW_BLOCKS, SLOTS, Spectrum};
use reservoir::Reservoir;
use scale_factors::{Factors, Gains, Groups, ScaleFactors};
use side_info::{BlockType, Channel, SideInfo};
use stereo::Intensity;
use synthesis::Synthesis;

use crate::simd::{self, Isa, MAX_LANES};

/// Samples of a granule.
pub const GRANULE_LEN: usize = LINES;

/// Granules whose samples are made together.
const BATCH: usize = 8;

/// Why a frame gave no samples.
#[derive(Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It contradicts itself.
    Corrupt,
    /// It begins in earlier frames, which are not there.
    Incomplete,
}

/// The state between frames.
pub struct Mp3Decoder {
    isa: Isa,
    reservoir: Reservoir,
    factors: [ScaleFactors; 2],
    lines: Box<[Lines; 2]>,
    hybrid: Hybrid,
    /// Rows of all subbands, of the granules whose samples are yet to be made.
    subbands: Vec<simd::Block>,
    synthesis: Synthesis,
}

/// The lines of one channel.
struct Lines {
    values: [f32; LINES],
    /// From here on they are zero.
    end: usize,
}

impl Mp3Decoder {
    /// Before the first frame.
    pub fn new(isa: Isa) -> Self {
        let lines = || Lines { values: [0.0; LINES], end: 0 };
        Self {
            isa,
            reservoir: Reservoir::new(),
            factors: [ScaleFactors::new(), ScaleFactors::new()],
            lines: Box::new([lines(), lines()]),
            hybrid: Hybrid::new(),
            subbands: Vec::with_capacity(BATCH * SLOTS * ROW_BLOCKS),
            synthesis: Synthesis::new(BATCH * SLOTS),
        }
    }

    /// Forgets all frames, and appends the samples that are left to `out`.
    pub fn reset(&mut self, out: &mut Vec<f32>) {
        self.flush(out);
        self.reservoir.clear();
        self.hybrid.clear();
        self.synthesis.clear();
    }

    /// Decodes a whole frame. Appends samples to `out` if there are enough of them; the rest is
    /// appended later, or by `flush`.
    pub fn decode(
        &mut self,
        frame: &[u8],
        header: Header,
        out: &mut Vec<f32>,
    ) -> Result<(), Skipped> {
        let mut bits = Bits::new(frame, 8 * HEADER_LEN);
        if header.has_checksum() {
            bits.take(16);
        }
        let info = SideInfo::read(&mut bits, header).ok_or(Skipped::Corrupt)?;
        let main = frame.get(bits.at() / 8..).ok_or(Skipped::Corrupt)?;
        if info.main_data_len() > 8 * (main.len() + info.main_data_begin) {
            return Err(Skipped::Corrupt);
        }
        if !self.reservoir.append(info.main_data_begin, main) {
            return Err(Skipped::Incomplete);
        }
        let mut at = 0;
        for channels in &info.channels[..header.n_granules()] {
            at = self.decode_granule(at, channels, header);
            if self.subbands.len() == BATCH * SLOTS * ROW_BLOCKS {
                self.flush(out);
            }
        }
        self.reservoir.used(at);
        Ok(())
    }

    /// Appends all samples that are yet to be made.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        let from = out.len();
        out.resize(from + self.subbands.len() * MAX_LANES, 0.0);
        // Whole vectors of times.
        let whole = self.subbands.len().next_multiple_of(MAX_LANES * ROW_BLOCKS);
        self.subbands.resize(whole, simd::Block([0.0; MAX_LANES]));
        self.isa.dispatch(self.synthesis.kernel(&self.subbands, &mut out[from..]));
        self.subbands.clear();
    }

    /// From bit `at` on; returns where the next granule begins.
    fn decode_granule(&mut self, at: usize, channels: &[Channel; 2], header: Header) -> usize {
        let [left, right] = channels;
        let same = left.has_shape_of(right);
        let second = at + left.len;
        let end = second + right.len;
        if header.n_channels() == 1 {
            self.decode_channel(at, 0, left, header, 0);
            self.transform(0, left, header, true);
            return second;
        }
        // The mean of left and right: half of each.
        let half = -4;
        if header.is_mid_side() && !header.is_intensity() && same {
            // Of which the root of 2 is the mean, so coded.
            let root = -2;
            self.decode_channel(at, 0, left, header, root);
            self.read_factors(second, 1, right, header);
            self.transform(0, left, header, true);
            return end;
        }
        let quarters = if header.is_mid_side() { half - 2 } else { half };
        self.decode_channel(at, 0, left, header, quarters);
        let positions = self.decode_channel(second, 1, right, header, quarters);
        let [a, b] = &mut *self.lines;
        let most = a.end.max(b.end);
        if header.is_intensity() {
            let intensity = Intensity {
                bands: Bands::of(header.rate_index(), left),
                positions,
                angles: header.is_mpeg1(),
                wide_steps: right.scale_factor_kind & 1 == 1,
                mid_side: header.is_mid_side(),
            };
            intensity.apply(&mut a.values, &mut b.values);
            (a.end, b.end) = (most, most);
        } else if header.is_mid_side() {
            for (m, s) in a.values[..most].iter_mut().zip(&mut b.values[..most]) {
                (*m, *s) = (*m + *s, *m - *s);
            }
            (a.end, b.end) = (most, most);
        }
        if same {
            for (l, r) in a.values[..most].iter_mut().zip(&b.values[..most]) {
                *l += r;
            }
            a.end = most;
            self.transform(0, left, header, true);
        } else {
            self.transform(0, left, header, true);
            self.transform(1, right, header, false);
        }
        end
    }

    /// Scale factors, and positions of intensity stereo; where the Huffman codes begin.
    fn read_factors(
        &mut self,
        at: usize,
        channel: usize,
        side: &Channel,
        header: Header,
    ) -> (Factors, Factors, usize) {
        let mut bits = Bits::new(self.reservoir.bytes(), at);
        let end = 8 * self.reservoir.len();
        let right = channel == 1 && header.is_intensity();
        let groups = Groups::of(side, header.is_mpeg1(), right);
        let factors = self.factors[channel].read(&mut bits, end, &groups, side.shared);
        let positions = if right {
            self.factors[channel].positions(&groups, header.is_mpeg1())
        } else {
            factors
        };
        (factors, positions, bits.at())
    }

    /// Decodes the lines of a channel; returns positions of intensity stereo.
    fn decode_channel(
        &mut self,
        at: usize,
        channel: usize,
        side: &Channel,
        header: Header,
        quarters: i32,
    ) -> Factors {
        let (factors, positions, codes_at) = self.read_factors(at, channel, side, header);
        let bands = Bands::of(header.rate_index(), side);
        let [first, second] = side.region_bands;
        let coded = Coded {
            bands: &bands.of_pairs,
            gains: &Gains::new(side, bands, &factors, quarters),
            n_pairs: side.n_pairs,
            regions: [bands.line(first + 1), bands.line(first.saturating_add(second) + 2)],
            tables: side.tables,
            quads_b: side.quads_b,
            end: at + side.len,
        };
        let lines = &mut self.lines[channel];
        lines.values[..lines.end].fill(0.0);
        lines.end = huffman::decode(self.reservoir.bytes(), codes_at, &coded, &mut lines.values);
        positions
    }

    /// From lines to subbands. `first`: what follows is added.
    fn transform(&mut self, channel: usize, side: &Channel, header: Header, first: bool) {
        let lines = &mut self.lines[channel];
        let bands = Bands::of(header.rate_index(), side);
        if side.block == BlockType::Short {
            lines.end = bands.interleave(&mut lines.values, lines.end);
        }
        let n_normal = bands::n_normal(header.rate_index(), side);
        let spectrum =
            Spectrum { lines: &lines.values, end: lines.end, block: side.block, n_normal };
        if first {
            let len = self.subbands.len();
            self.subbands.resize(len + SLOTS * ROW_BLOCKS, simd::Block([0.0; MAX_LANES]));
        }
        let from = self.subbands.len() - SLOTS * ROW_BLOCKS;
        self.isa.dispatch(self.hybrid.kernel(spectrum, first, &mut self.subbands[from..]));
    }
}

#[cfg(test)]
mod tests;

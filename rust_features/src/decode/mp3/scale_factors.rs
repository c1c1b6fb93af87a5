//! Scale factors, and what each band is multiplied by: ISO 11172-3, 2.4.2.7 and 2.4.3.4.7.1;
//! ISO 13818-3, 2.4.3.2.

use std::sync::LazyLock;

use super::bands::Bands;
use super::bits::Bits;
use super::side_info::{Block, Channel};

/// The most bands of a granule, and one group more.
pub const MOST_BANDS: usize = 40;

/// Scale factors, or positions between left and right.
pub type Factors = [u8; MOST_BANDS];

/// What high bands are louder by: ISO 11172-3, Table B.6.
const PRE_EMPHASIS: [u8; 22] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 0];

/// Bits of the two kinds of scale factors of MPEG 1.
const LENGTHS: [[u8; 2]; 16] = [
    [0, 0],
    [0, 1],
    [0, 2],
    [0, 3],
    [3, 0],
    [1, 1],
    [1, 2],
    [1, 3],
    [2, 1],
    [2, 2],
    [2, 3],
    [3, 1],
    [3, 2],
    [3, 3],
    [4, 2],
    [4, 3],
];

/// Bits of four groups of scale factors, and how many each group has.
struct Groups {
    lengths: [u8; 4],
    counts: [u8; 4],
}

impl Groups {
    fn mpeg1(channel: &Channel) -> Self {
        let [low, high] = LENGTHS[channel.scale_factor_kind as usize];
        let counts = match (channel.block, channel.mixed) {
            (Block::Short, false) => [9, 9, 9, 9],
            (Block::Short, true) => [8, 9, 9, 9],
            _ => [6, 5, 5, 5],
        };
        Self { lengths: [low, low, high, high], counts }
    }

    /// `right`: of the channel whose scale factors are positions of intensity stereo.
    fn mpeg2(channel: &Channel, right: bool) -> Self {
        let kind = channel.scale_factor_kind;
        // By kind of block: long, short, mixed.
        let (lengths, counts) = match if right { 512 + kind / 2 } else { kind } {
            kind @ 0..400 => (
                [kind / 80, kind / 16 % 5, kind / 4 % 4, kind % 4],
                [[6, 5, 5, 5], [9, 9, 9, 9], [6, 9, 9, 9]],
            ),
            kind @ 400..500 => (
                [(kind - 400) / 20, (kind - 400) / 4 % 5, kind % 4, 0],
                [[6, 5, 7, 3], [9, 9, 12, 6], [6, 9, 12, 6]],
            ),
            kind @ 500..512 => (
                [(kind - 500) / 3, (kind - 500) % 3, 0, 0],
                [[11, 10, 0, 0], [18, 18, 0, 0], [15, 18, 0, 0]],
            ),
            kind @ 512..692 => (
                [(kind - 512) / 36, (kind - 512) / 6 % 6, (kind - 512) % 6, 0],
                [[7, 7, 7, 0], [12, 12, 12, 0], [6, 15, 12, 0]],
            ),
            kind @ 692..756 => (
                [(kind - 692) / 16, (kind - 692) / 4 % 4, kind % 4, 0],
                [[6, 6, 6, 3], [12, 9, 9, 6], [6, 12, 9, 6]],
            ),
            kind => (
                [(kind - 756) / 3, (kind - 756) % 3, 0, 0],
                [[8, 8, 5, 0], [15, 12, 9, 0], [6, 18, 9, 0]],
            ),
        };
        let block = match (channel.block, channel.mixed) {
            (Block::Short, false) => 1,
            (Block::Short, true) => 2,
            _ => 0,
        };
        Self { lengths: lengths.map(|n| n as u8), counts: counts[block] }
    }
}

/// What one channel's scale factors were in the granule before, and are.
#[derive(Clone, Default)]
pub struct ScaleFactors {
    /// As they stand in the stream.
    raw: Raw,
}

#[derive(Clone)]
struct Raw(Factors);

impl Default for Raw {
    fn default() -> Self {
        Self([0; MOST_BANDS])
    }
}

/// No position between left and right.
pub const NO_POSITION: u8 = u8::MAX;

impl ScaleFactors {
    /// Reads those of MPEG 1. `end`: where the frame's bits end.
    pub fn read_mpeg1(&mut self, bits: &mut Bits, end: usize, channel: &Channel) -> &Factors {
        let groups = Groups::mpeg1(channel);
        self.read(bits, end, &groups, channel.shared);
        &self.raw.0
    }

    /// Reads those of MPEG 2. `right`: where they are positions of intensity stereo, of which the
    /// greatest number stands for none.
    pub fn read_mpeg2(
        &mut self,
        bits: &mut Bits,
        end: usize,
        channel: &Channel,
        right: bool,
    ) -> (&Factors, Factors) {
        let groups = Groups::mpeg2(channel, right);
        self.read(bits, end, &groups, [false; 4]);
        let mut positions = self.raw.0;
        let mut at = 0;
        for (len, n) in groups.lengths.into_iter().zip(groups.counts) {
            for position in &mut positions[at..][..usize::from(n)] {
                if len > 0 && *position == (1 << len) - 1 {
                    *position = NO_POSITION;
                }
            }
            at += usize::from(n);
        }
        (&self.raw.0, positions)
    }

    fn read(&mut self, bits: &mut Bits, end: usize, groups: &Groups, shared: [bool; 4]) {
        let mut at = 0;
        for group in 0..4 {
            let n = usize::from(groups.counts[group]);
            let len = u32::from(groups.lengths[group]);
            let factors = &mut self.raw.0[at..at + n];
            at += n;
            if shared[group] {
                continue;
            }
            if len == 0 {
                factors.fill(0);
                continue;
            }
            for factor in factors {
                let value = bits.take(len) as u8;
                *factor = if bits.at() <= end { value } else { 0 };
            }
        }
        self.raw.0[at..].fill(0);
    }
}

/// The least power that `POWERS` has: no gain, all scale factors, 4 windows' gains.
const LEAST: i32 = -400;

/// 2^(n/4) for n from `LEAST` to 63.
static POWERS: LazyLock<Vec<f32>> =
    LazyLock::new(|| (LEAST..64).map(|n| (f64::from(n) / 4.0).exp2() as f32).collect());

/// Multiplies every band by its gain. `quarters`: more of it, as powers of 2^(1/4). Lines from `end` on
/// are zero.
pub fn scale(
    lines: &mut [f32],
    end: usize,
    channel: &Channel,
    bands: &Bands,
    factors: &Factors,
    quarters: i32,
) {
    let global = i32::from(channel.global_gain) - 210 + quarters;
    let step = if channel.wide_steps { 4 } else { 2 };
    let powers = &POWERS[..];
    let mut from = 0;
    for (band, &width) in bands.widths.iter().enumerate() {
        if from >= end {
            return;
        }
        let mut factor = i32::from(factors[band]);
        let mut gain = global;
        if band >= bands.n_long {
            gain -= 8 * i32::from(channel.window_gain[(band - bands.n_long) % 3]);
        } else if channel.pre_emphasis && bands.n_short() == 0 {
            factor += i32::from(PRE_EMPHASIS[band]);
        }
        gain -= step * factor;
        let gain = powers[(gain - LEAST) as usize];
        // All bands have an even number of lines.
        let (fours, two) = lines[from..from + width].as_chunks_mut::<4>();
        for four in fours {
            *four = four.map(|line| line * gain);
        }
        if let [a, b] = two {
            (*a, *b) = (*a * gain, *b * gain);
        }
        from += width;
    }
}

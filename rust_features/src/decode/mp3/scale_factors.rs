//! Scale factors, and what each band is multiplied by: ISO 11172-3, 2.4.2.7 and 2.4.3.4.7.1;
//! ISO 13818-3, 2.4.3.2.

use std::sync::LazyLock;

use super::bands::Bands;
use super::bits::Bits;
use super::side_info::{BlockType, Channel};

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

/// How many scale factors there are in each of four groups, and of how many bits.
pub struct Groups {
    pub lengths: [u8; 4],
    pub counts: [u8; 4],
}

impl Groups {
    /// Those of a channel. `right`: where they are positions of intensity stereo.
    pub fn of(channel: &Channel, mpeg1: bool, right: bool) -> Self {
        if mpeg1 { Self::mpeg1(channel) } else { Self::mpeg2(channel, right) }
    }

    fn mpeg1(channel: &Channel) -> Self {
        let [low, high] = LENGTHS[channel.scale_factor_kind as usize];
        let counts = match (channel.block, channel.mixed) {
            (BlockType::Short, false) => [9, 9, 9, 9],
            (BlockType::Short, true) => [8, 9, 9, 9],
            _ => [6, 5, 5, 5],
        };
        Self { lengths: [low, low, high, high], counts }
    }

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
            (BlockType::Short, false) => 1,
            (BlockType::Short, true) => 2,
            _ => 0,
        };
        Self { lengths: lengths.map(|n| n as u8), counts: counts[block] }
    }
}

/// The scale factors of one channel as they stand in the stream, of which the next granule may share
/// some.
pub struct ScaleFactors(Factors);

/// No position between left and right.
const NO_POSITION: u8 = u8::MAX;

impl ScaleFactors {
    /// All zero.
    pub fn new() -> Self {
        Self([0; MOST_BANDS])
    }

    /// Reads those of a granule. `end`: behind the frame's last bit.
    pub fn read(
        &mut self,
        bits: &mut Bits,
        end: usize,
        groups: &Groups,
        shared: [bool; 4],
    ) -> Factors {
        let mut at = 0;
        for (group, shared) in shared.into_iter().enumerate() {
            let n = usize::from(groups.counts[group]);
            let len = u32::from(groups.lengths[group]);
            let factors = &mut self.0[at..at + n];
            at += n;
            if shared {
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
        self.0[at..].fill(0);
        self.0
    }

    /// The same as positions of intensity stereo, of which MPEG 2 has none for the greatest number.
    pub fn positions(&self, groups: &Groups, mpeg1: bool) -> Factors {
        let mut positions = self.0;
        let mut at = 0;
        for (len, n) in groups.lengths.into_iter().zip(groups.counts) {
            for position in &mut positions[at..][..usize::from(n)] {
                if !mpeg1 && len > 0 && *position == (1 << len) - 1 {
                    *position = NO_POSITION;
                }
            }
            at += usize::from(n);
        }
        positions
    }
}

/// The least power that `POWERS` has: no gain, all scale factors, 4 windows' gains.
const LEAST: i32 = -400;

/// 2^(n/4) for n from `LEAST` to 63.
static POWERS: LazyLock<Vec<f32>> =
    LazyLock::new(|| (LEAST..64).map(|n| (f64::from(n) / 4.0).exp2() as f32).collect());

/// What each band is multiplied by.
pub struct Gains([f32; 64]);

impl Gains {
    /// Those of a channel. `quarters`: more of it, as powers of 2^(1/4).
    pub fn new(channel: &Channel, bands: &Bands, factors: &Factors, quarters: i32) -> Self {
        let powers = &POWERS[..];
        let global = i32::from(channel.global_gain) - 210 + quarters;
        let step = if channel.wide_steps { 4 } else { 2 };
        let emphasised = channel.pre_emphasis && bands.n_short() == 0;
        let mut gains = [0.0; 64];
        for (band, (gain, &factor)) in
            gains[..bands.widths.len()].iter_mut().zip(factors).enumerate()
        {
            let mut factor = i32::from(factor);
            let mut quarters = global;
            if band >= bands.n_long {
                quarters -= 8 * i32::from(channel.window_gain[(band - bands.n_long) % 3]);
            } else if emphasised {
                factor += i32::from(PRE_EMPHASIS[band]);
            }
            *gain = powers[(quarters - step * factor - LEAST) as usize];
        }
        Self(gains)
    }

    /// That of a band.
    #[inline(always)]
    pub fn of(&self, band: u8) -> f32 {
        self.0[usize::from(band % 64)]
    }
}

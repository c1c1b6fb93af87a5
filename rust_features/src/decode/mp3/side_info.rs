//! What a frame says of its granules: ISO 11172-3, 2.4.1.7 and 2.4.2.7; ISO 13818-3, 2.4.1.7.

use super::bits::Bits;
use super::header::Header;

/// More pairs than lines are an error.
const MOST_PAIRS: usize = 288;

/// The window of a granule.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum BlockType {
    /// One long window.
    #[default]
    Long,
    /// A long window before short ones.
    Start,
    /// Three short windows.
    Short,
    /// A long window after short ones.
    Stop,
}

/// One channel of one granule.
#[derive(Clone, Copy, Default)]
pub struct Channel {
    /// Bits of scale factors and Huffman codes.
    pub len: usize,
    /// Pairs of lines with values above 1, or beside one.
    pub n_pairs: usize,
    /// What all lines are multiplied by: 2^((gain - 210) / 4).
    pub global_gain: u8,
    /// How many bits the scale factors have.
    pub scale_factor_kind: u32,
    /// The window.
    pub block: BlockType,
    /// Whether the lowest bands have a normal window all the same.
    pub mixed: bool,
    /// Huffman tables of the three regions.
    pub tables: [u8; 3],
    /// Bands of the first two regions, less one.
    pub region_bands: [usize; 2],
    /// What the three short windows are divided by: powers of 4.
    pub window_gain: [u8; 3],
    /// Whether high bands are louder than their scale factors say.
    pub pre_emphasis: bool,
    /// Whether scale factors are steps of 6 dB, not of 3.
    pub wide_steps: bool,
    /// Whether quadruples are coded by table B.
    pub quads_b: bool,
    /// Which groups of scale factors are those of the granule before.
    pub shared: [bool; 4],
}

/// The side information of one frame.
pub struct SideInfo {
    /// Bytes of earlier frames that belong to this one.
    pub main_data_begin: usize,
    /// By granule, then by channel.
    pub channels: [[Channel; 2]; 2],
}

impl SideInfo {
    /// Reads it; none if it contradicts itself.
    pub fn read(bits: &mut Bits, header: Header) -> Option<Self> {
        let n_channels = header.n_channels();
        let mut channels = [[Channel::default(); 2]; 2];
        let main_data_begin;
        if header.is_mpeg1() {
            main_data_begin = bits.take(9) as usize;
            bits.take(if n_channels == 1 { 5 } else { 3 }); // Private.
            for channel in &mut channels[1][..n_channels] {
                channel.shared = [(); 4].map(|()| bits.flag());
            }
        } else {
            main_data_begin = bits.take(8) as usize;
            bits.take(n_channels as u32); // Private.
        }
        for granule in &mut channels[..header.n_granules()] {
            for channel in &mut granule[..n_channels] {
                channel.read(bits, header.is_mpeg1())?;
            }
        }
        // Short windows have scale factors of their own.
        let [first, second] = &mut channels;
        for (a, b) in first.iter().zip(second) {
            if a.block == BlockType::Short || b.block == BlockType::Short {
                b.shared = [false; 4];
            }
        }
        Some(Self { main_data_begin, channels })
    }

    /// Bits of all granules.
    pub fn main_data_len(&self) -> usize {
        self.channels.as_flattened().iter().map(|channel| channel.len).sum()
    }
}

impl Channel {
    fn read(&mut self, bits: &mut Bits, mpeg1: bool) -> Option<()> {
        self.len = bits.take(12) as usize;
        self.n_pairs = bits.take(9) as usize;
        if self.n_pairs > MOST_PAIRS {
            return None;
        }
        self.global_gain = bits.take(8) as u8;
        self.scale_factor_kind = bits.take(if mpeg1 { 4 } else { 9 });
        if bits.flag() {
            self.block = match bits.take(2) {
                0 => return None,
                1 => BlockType::Start,
                2 => BlockType::Short,
                _ => BlockType::Stop,
            };
            self.mixed = bits.flag();
            self.tables = [bits.take(5) as u8, bits.take(5) as u8, 0];
            self.window_gain = [(); 3].map(|()| bits.take(3) as u8);
            let short = self.block == BlockType::Short && !self.mixed;
            self.region_bands = [if short { 8 } else { 7 }, usize::MAX / 2];
        } else {
            self.tables = [(); 3].map(|()| bits.take(5) as u8);
            self.region_bands = [bits.take(4) as usize, bits.take(3) as usize];
        }
        self.pre_emphasis = if mpeg1 { bits.flag() } else { self.scale_factor_kind >= 500 };
        self.wide_steps = bits.flag();
        self.quads_b = bits.flag();
        Some(())
    }

    /// Whether the lines of both mean the same frequencies and times.
    pub fn has_shape_of(&self, other: &Self) -> bool {
        (self.block, self.mixed) == (other.block, other.mixed)
    }
}

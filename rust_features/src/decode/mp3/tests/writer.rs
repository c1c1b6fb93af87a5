//! Writes streams of random lines: an encoder without ears.

use super::super::bands::Bands;
use super::super::codes::{LINBITS, PAIRS, QUADS_A, QUADS_B};
use super::super::header::Header;
use super::super::scale_factors::Groups;
use super::super::side_info::{BlockType, Channel};

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What all frames of a stream have in common.
#[derive(Debug)]
pub struct StreamKind {
    /// 0xff and the version; the last bit clear: a checksum follows.
    second: u8,
    rate: u8,
    /// The channel mode; of joint stereo every frame has an extension of its own.
    mode: u8,
    /// Whether some frames are coded with intensity stereo: then both channels have the same windows.
    intensity: bool,
    /// Bytes of a frame without padding, if its format is free.
    free_len: Option<usize>,
    mixed: bool,
}

impl StreamKind {
    pub fn any(draw: &mut Draw) -> Self {
        let version = [0xfa, 0xf2, 0xe2][draw.below(3)];
        // nanomp3 divides mixed blocks of 8 kHz in a way of its own.
        let rate = draw.below(3) as u8;
        Self {
            second: version | draw.below(2) as u8,
            rate,
            mode: [0, 1, 1, 1, 2, 3][draw.below(6)],
            intensity: draw.chance(50),
            free_len: draw.chance(20).then(|| 400 + draw.below(1000)),
            mixed: draw.chance(30) && (version, rate) != (0xe2, 2),
        }
    }
}

/// Bits, the most significant first.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    len: usize,
}

impl Writer {
    fn put(&mut self, value: usize, n: u32) {
        for bit in (0..n).rev() {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("pushed");
            *last |= ((value >> bit & 1) as u8) << (7 - self.len % 8);
            self.len += 1;
        }
    }

    /// A code word with its leading 1.
    fn put_word(&mut self, word: u32) {
        self.put((word ^ 1 << word.ilog2()) as usize, word.ilog2());
    }
}

/// A stream of some frames.
pub fn write(draw: &mut Draw, kind: &StreamKind) -> Vec<u8> {
    let n_frames = 4 + draw.below(8);
    let mut frames = Vec::new();
    // Where the main data of the frames are, all together.
    let (mut main, mut used) = (Vec::new(), 0);
    let mut blocks = [BlockType::Long; 2];
    for _ in 0..n_frames {
        let bits = if kind.free_len.is_some() { 0 } else { 9 + draw.below(6) as u8 };
        let extension = match (kind.mode, kind.intensity) {
            (1, true) => draw.below(4) as u8,
            (1, false) => 2 * draw.below(2) as u8,
            _ => 0,
        };
        let third = bits << 4 | kind.rate << 2 | (draw.below(2) as u8) << 1;
        let head = [0xff, kind.second, third, kind.mode << 6 | extension << 4];
        let header = Header::read(&head).expect("valid");
        let mut side_len =
            if header.is_mpeg1() { [17, 32] } else { [9, 17] }[header.n_channels() - 1];
        side_len += if header.has_checksum() { 2 } else { 0 };
        let len = header.frame_len(kind.free_len.unwrap_or(0));
        let start = main.len();
        main.resize(start + len - 4 - side_len, 0);
        let begin = used.max(start.saturating_sub(if header.is_mpeg1() { 511 } else { 255 }));
        let n_coded = header.n_granules() * header.n_channels();
        let most = (8 * (main.len() - begin) / n_coded).min(4000);
        let (side, data) = write_granules(draw, kind, header, &mut blocks, start - begin, most);
        main[begin..begin + data.len()].copy_from_slice(&data);
        used = begin + data.len();
        let mut frame = head.to_vec();
        if header.has_checksum() {
            frame.extend([draw.below(256) as u8, draw.below(256) as u8]);
        }
        frame.extend(side);
        frames.push((frame, start..main.len()));
    }
    let whole =
        |(head, range): (Vec<u8>, std::ops::Range<usize>)| [head, main[range].to_vec()].concat();
    frames.into_iter().flat_map(whole).collect()
}

/// Side information and main data of a frame, each granule of a channel with `most` bits.
fn write_granules(
    draw: &mut Draw,
    kind: &StreamKind,
    header: Header,
    blocks: &mut [BlockType; 2],
    main_data_begin: usize,
    most: usize,
) -> (Vec<u8>, Vec<u8>) {
    let (mut side, mut data) = (Writer::default(), Writer::default());
    let n_channels = header.n_channels();
    // In the second granule each group of scale factors may be that of the first.
    let mut shared = [[false; 4]; 2];
    if header.is_mpeg1() {
        side.put(main_data_begin, 9);
        side.put(0, if n_channels == 1 { 5 } else { 3 });
    } else {
        side.put(main_data_begin, 8);
        side.put(0, n_channels as u32);
    }
    let mut channels = [[Channel::default(); 2]; 2];
    for granule in &mut channels[..header.n_granules()] {
        for (channel, block) in granule[..n_channels].iter_mut().zip(&mut *blocks) {
            *block = match block {
                BlockType::Long | BlockType::Stop => {
                    [BlockType::Long, BlockType::Start][draw.below(2)]
                }
                BlockType::Start => BlockType::Short,
                BlockType::Short => [BlockType::Short, BlockType::Stop][draw.below(2)],
            };
            channel.block = *block;
        }
        if kind.intensity {
            (granule[1].block, blocks[1]) = (granule[0].block, blocks[0]);
        }
    }
    for channel in 0..n_channels {
        let short = channels.iter().any(|granule| granule[channel].block == BlockType::Short);
        if header.is_mpeg1() && !short {
            shared[channel] = [(); 4].map(|()| draw.chance(30));
        }
        if header.is_mpeg1() {
            shared[channel].iter().for_each(|&flag| side.put(flag.into(), 1));
        }
    }
    for (number, granule) in channels[..header.n_granules()].iter_mut().enumerate() {
        for (at, channel) in granule[..n_channels].iter_mut().enumerate() {
            channel.shared = if number == 1 { shared[at] } else { [false; 4] };
            channel.mixed = kind.mixed && channel.block != BlockType::Long;
            write_channel(draw, header, at, channel, most, &mut side, &mut data);
        }
    }
    (side.bytes, data.bytes)
}

fn write_channel(
    draw: &mut Draw,
    header: Header,
    at: usize,
    channel: &mut Channel,
    most: usize,
    side: &mut Writer,
    data: &mut Writer,
) {
    let start = data.len;
    let mpeg1 = header.is_mpeg1();
    channel.scale_factor_kind = draw.below(if mpeg1 { 16 } else { 512 }) as u32;
    let right = at == 1 && header.is_intensity();
    let groups = Groups::of(channel, mpeg1, right);
    for group in 0..4 {
        let (len, n) = (u32::from(groups.lengths[group]), groups.counts[group]);
        if len > 0 && !channel.shared[group] {
            (0..n).for_each(|_| data.put(draw.below(1 << len), len));
        }
    }
    channel.tables = [(); 3].map(|()| match draw.below(32) as u8 {
        4 | 14 => 13,
        table => table,
    });
    let bands = Bands::of(header.rate_index(), channel);
    let first = draw.below(16);
    channel.region_bands = match (channel.block, channel.mixed) {
        (BlockType::Long, _) => [first, draw.below(8)],
        (BlockType::Short, false) => [8, usize::MAX / 2],
        _ => [7, usize::MAX / 2],
    };
    let [first, second] = channel.region_bands;
    let regions = [bands.line(first + 1), bands.line(first.saturating_add(second) + 2)];
    let wanted = draw.below(289);
    let mut greatest = 1;
    while channel.n_pairs < wanted && data.len - start + 60 < most {
        let line = 2 * channel.n_pairs;
        let region = regions.iter().filter(|&&end| line >= end).count();
        greatest = greatest.max(put_pair(draw, channel.tables[region], data));
        channel.n_pairs += 1;
    }
    channel.quads_b = draw.chance(50);
    let wanted = draw.below(145);
    let mut n_quads = 0;
    while n_quads < wanted
        && 2 * channel.n_pairs + 4 * n_quads + 4 <= 576
        && data.len - start + 10 < most
    {
        let at = draw.below(16);
        data.put_word(if channel.quads_b { QUADS_B[at] } else { QUADS_A[at] });
        data.put(draw.below(16), at.count_ones());
        n_quads += 1;
    }
    channel.len = data.len - start;
    // So that the loudest is between 0.1 and 1, or a little more.
    let loudest = (greatest as f64).powf(4.0 / 3.0) * 2.0;
    channel.global_gain = (210.0 - 4.0 * loudest.log2()) as u8 - draw.below(12) as u8;
    put_side(draw, mpeg1, channel, side);
}

/// A pair of the table; returns the greater value.
fn put_pair(draw: &mut Draw, table: u8, data: &mut Writer) -> usize {
    if table == 0 {
        return 0;
    }
    let codes = PAIRS.iter().rev().find(|codes| codes.number <= table).expect("from 1 on");
    let at = draw.below(codes.words.len());
    data.put_word(codes.words[at]);
    let values = [at / codes.side, at % codes.side].map(|value| {
        let mut value = value;
        if table >= 16 && value == 15 {
            let linbits = LINBITS[usize::from(table - 16)];
            let more = draw.below(1 << linbits);
            data.put(more, linbits);
            value += more;
        }
        if value > 0 {
            data.put(draw.below(2), 1);
        }
        value
    });
    values[0].max(values[1])
}

fn put_side(draw: &mut Draw, mpeg1: bool, channel: &Channel, side: &mut Writer) {
    side.put(channel.len, 12);
    side.put(channel.n_pairs, 9);
    side.put(channel.global_gain.into(), 8);
    side.put(channel.scale_factor_kind as usize, if mpeg1 { 4 } else { 9 });
    let block = match channel.block {
        BlockType::Long => 0,
        BlockType::Start => 1,
        BlockType::Short => 2,
        BlockType::Stop => 3,
    };
    side.put(usize::from(block > 0), 1);
    if block > 0 {
        side.put(block, 2);
        side.put(channel.mixed.into(), 1);
        channel.tables[..2].iter().for_each(|&table| side.put(table.into(), 5));
        (0..3).for_each(|_| side.put(draw.below(8), 3));
    } else {
        channel.tables.iter().for_each(|&table| side.put(table.into(), 5));
        side.put(channel.region_bands[0], 4);
        side.put(channel.region_bands[1], 3);
    }
    if mpeg1 {
        side.put(draw.below(2), 1);
    }
    side.put(draw.below(2), 1);
    side.put(channel.quads_b.into(), 1);
}

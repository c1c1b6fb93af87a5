//! Scale factor bands: ISO 11172-3, Table B.8; ISO 13818-3, Table B.2; and what decoders agree on for
//! MPEG 2.5, which is no standard.

use std::sync::LazyLock;

use super::huffman::LINES;
use super::side_info::{BlockType, Channel};

/// Lines of each band of a long block, by the header's index of the rate.
const LONG: [[u8; 22]; 9] = [
    [4, 4, 4, 4, 4, 4, 6, 6, 8, 8, 10, 12, 16, 20, 24, 28, 34, 42, 50, 54, 76, 158],
    [4, 4, 4, 4, 4, 4, 6, 6, 6, 8, 10, 12, 16, 18, 22, 28, 34, 40, 46, 54, 54, 192],
    [4, 4, 4, 4, 4, 4, 6, 6, 8, 10, 12, 16, 20, 24, 30, 38, 46, 56, 68, 84, 102, 26],
    [6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 46, 52, 60, 68, 58, 54],
    [6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 18, 22, 26, 32, 38, 46, 54, 62, 70, 76, 36],
    [6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 46, 52, 60, 68, 58, 54],
    [6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 46, 52, 60, 68, 58, 54],
    [6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 46, 52, 60, 68, 58, 54],
    [12, 12, 12, 12, 12, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 76, 90, 2, 2, 2, 2, 2],
];

/// Lines of each band of one of the three windows of a short block.
const SHORT: [[u8; 13]; 9] = [
    [4, 4, 4, 4, 6, 8, 10, 12, 14, 18, 22, 30, 56],
    [4, 4, 4, 4, 6, 6, 10, 12, 14, 16, 20, 26, 66],
    [4, 4, 4, 4, 6, 8, 12, 16, 20, 26, 34, 42, 12],
    [4, 4, 4, 6, 6, 8, 10, 14, 18, 26, 32, 42, 18],
    [4, 4, 4, 6, 8, 10, 12, 14, 18, 24, 32, 44, 12],
    [4, 4, 4, 6, 8, 10, 12, 14, 18, 24, 30, 40, 18],
    [4, 4, 4, 6, 8, 10, 12, 14, 18, 24, 30, 40, 18],
    [4, 4, 4, 6, 8, 10, 12, 14, 18, 24, 30, 40, 18],
    [8, 8, 8, 12, 16, 20, 24, 28, 36, 2, 2, 2, 26],
];

/// Lines of a subband.
const SUBBAND: usize = 18;

/// How the lines of a granule are divided.
pub struct Bands {
    /// Lines of each band, the lowest first: those of long blocks, then for each band of short blocks
    /// those of its three windows.
    pub widths: Vec<usize>,
    /// How many are of long blocks.
    pub n_long: usize,
    /// The band of each pair of lines: all widths are even.
    pub of_pairs: [u8; LINES / 2],
    /// The first line of each band.
    starts: Vec<usize>,
}

/// The bands of one rate.
struct Kinds {
    long: Bands,
    short: Bands,
    mixed: Bands,
    /// Where the lines of short windows begin in mixed blocks.
    switch: usize,
}

fn kinds(rate_index: usize) -> &'static Kinds {
    static ALL: LazyLock<Vec<Kinds>> = LazyLock::new(|| (0..9).map(Kinds::new).collect());
    &ALL[rate_index]
}

impl Kinds {
    fn new(rate_index: usize) -> Self {
        let long: Vec<usize> = LONG[rate_index].map(usize::from).to_vec();
        let short = SHORT[rate_index].map(usize::from);
        let threefold = |bands: &[usize]| bands.iter().flat_map(|&n| [n; 3]).collect::<Vec<_>>();
        // Mixed blocks: the short bands begin with the fourth.
        let switch = 3 * short[..3].iter().sum::<usize>();
        let ends = long.iter().scan(0, |end, n| {
            *end += n;
            Some(*end)
        });
        let n_below = ends.take_while(|&end| end <= switch).count();
        let mixed = [&long[..n_below], &threefold(&short[3..])].concat();
        Self {
            long: Bands::new(long, LONG[0].len()),
            short: Bands::new(threefold(&short), 0),
            mixed: Bands::new(mixed, n_below),
            switch,
        }
    }
}

impl Bands {
    fn new(widths: Vec<usize>, n_long: usize) -> Self {
        let starts = (0..widths.len()).map(|n| widths[..n].iter().sum()).collect();
        let mut of_pairs = [0; LINES / 2];
        let pairs = widths.iter().enumerate().flat_map(|(band, &n)| [band as u8].repeat(n / 2));
        of_pairs.iter_mut().zip(pairs).for_each(|(of_pair, band)| *of_pair = band);
        Self { widths, n_long, of_pairs, starts }
    }

    /// Those of a channel in one granule.
    pub fn of(rate_index: usize, channel: &Channel) -> &'static Self {
        let kinds = kinds(rate_index);
        match (channel.block, channel.mixed) {
            (BlockType::Short, false) => &kinds.short,
            (BlockType::Short, true) => &kinds.mixed,
            _ => &kinds.long,
        }
    }

    /// How many are of short blocks, each window on its own.
    pub fn n_short(&self) -> usize {
        self.widths.len() - self.n_long
    }

    /// The first line of band `n`, or the end if there are fewer.
    pub fn line(&self, n: usize) -> usize {
        self.starts.get(n).copied().unwrap_or(LINES)
    }

    /// Sorts the lines of short blocks by frequency, so that the windows take turns. Lines from `end`
    /// on are zero; returns from where on they are afterwards.
    pub fn interleave(&self, lines: &mut [f32; LINES], end: usize) -> usize {
        let mut sorted = [0.0; LINES];
        for band in (self.n_long..self.widths.len()).step_by(3) {
            let (start, width) = (self.starts[band], self.widths[band]);
            if start >= end {
                return end.max(start);
            }
            let lines = &mut lines[start..start + 3 * width];
            let sorted = &mut sorted[..3 * width];
            for window in 0..3 {
                for i in 0..width {
                    sorted[3 * i + window] = lines[window * width + i];
                }
            }
            lines.copy_from_slice(sorted);
        }
        LINES
    }
}

/// How many subbands, from the lowest, have a normal window whatever the others have.
pub fn n_normal(rate_index: usize, channel: &Channel) -> usize {
    if channel.mixed { kinds(rate_index).switch / SUBBAND } else { 0 }
}

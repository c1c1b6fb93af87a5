//! Huffman codes → lines of the spectrum: ISO 11172-3, 2.4.1.7, 2.4.2.7 and 2.4.3.4.6.
//!
//! A table that is indexed by the next bits gives a pair of values at once, signs included, already
//! raised to the power of 4/3. What does not fit into those bits is looked up a second time.

use std::sync::LazyLock;

use super::bits::Cache;
use super::codes::{LINBITS, PAIRS, PairCodes, QUADS_A, QUADS_B};

/// Lines of a granule.
pub const LINES: usize = 576;

/// Bits that the first table of each code is indexed by.
const FIRST_BITS: u32 = 10;

/// The most bits of a quadruple, signs included.
const QUAD_BITS: u32 = 10;

/// The most that a value can be: 15 and 13 more bits.
const MOST: usize = 15 + (1 << 13) - 1;

/// What the next bits mean.
#[derive(Clone, Copy, Default)]
struct Pair {
    /// sign · |value|^(4/3).
    values: [f32; 2],
    /// Bits of the pair with its signs; 0 if they are more than the table is indexed by.
    len: u8,
    /// Then `second[at..]`, indexed by so many bits, knows the code word.
    more: u8,
    at: u16,
}

/// A code word.
#[derive(Clone, Copy, Default)]
struct Word {
    len: u8,
    values: [u8; 2],
}

/// A code of pairs.
struct PairTable {
    first: Box<[Pair; 1 << FIRST_BITS]>,
    second: Vec<Word>,
}

/// Four values of -1, 0 or 1.
#[derive(Clone, Copy, Default)]
struct Quad {
    values: [f32; 4],
    /// Bits of the code word.
    word: u8,
    /// Bits of the word and the signs.
    len: u8,
}

/// All codes.
pub struct Tables {
    pairs: Vec<PairTable>,
    quads: [Box<[Quad; 1 << QUAD_BITS]>; 2],
    /// n^(4/3).
    powers: Vec<f32>,
}

/// The codes, made when they are first used.
pub fn tables() -> &'static Tables {
    static TABLES: LazyLock<Tables> = LazyLock::new(|| {
        let powers: Vec<f32> = (0..=MOST).map(|n| (n as f64).powf(4.0 / 3.0) as f32).collect();
        let pairs = PAIRS.iter().map(|codes| PairTable::new(codes, &powers)).collect();
        Tables { pairs, quads: [quad_table(&QUADS_A), quad_table(&QUADS_B)], powers }
    });
    &TABLES
}

impl PairTable {
    fn new(codes: &PairCodes, powers: &[f32]) -> Self {
        let mut first = vec![Pair::default(); 1 << FIRST_BITS];
        let mut second = Vec::new();
        // Words that are longer than the first table's bits, by those bits.
        let mut long = vec![Vec::new(); 1 << FIRST_BITS];
        for (at, &word) in codes.words.iter().enumerate() {
            let len = word.ilog2();
            let bits = word ^ 1 << len;
            let values = [(at / codes.side) as u8, (at % codes.side) as u8];
            let n_signs = values.iter().filter(|&&v| v != 0).count() as u32;
            let escapes = codes.number >= 16 && values.contains(&15);
            if len + n_signs <= FIRST_BITS && !escapes {
                for signs in 0..1 << n_signs {
                    let mut left = n_signs;
                    let values = values.map(|v| {
                        let negative = v != 0 && {
                            left -= 1;
                            signs >> left & 1 == 1
                        };
                        let power = powers[usize::from(v)];
                        if negative { -power } else { power }
                    });
                    let len = len + n_signs;
                    let pair = Pair { values, len: len as u8, ..Pair::default() };
                    fill(&mut first, bits << n_signs | signs, len, FIRST_BITS, pair);
                }
            } else {
                let word = Word { len: len as u8, values };
                if len <= FIRST_BITS {
                    let pair = Pair { at: second.len() as u16, ..Pair::default() };
                    fill(&mut first, bits, len, FIRST_BITS, pair);
                    second.push(word);
                } else {
                    let rest = len - FIRST_BITS;
                    let below = bits & ((1 << rest) - 1);
                    long[(bits >> rest) as usize].push((below, rest, word));
                }
            }
        }
        for (pair, words) in first.iter_mut().zip(long) {
            let Some(more) = words.iter().map(|&(_, rest, _)| rest).max() else { continue };
            *pair = Pair { more: more as u8, at: second.len() as u16, ..Pair::default() };
            let mut table = vec![Word::default(); 1 << more];
            for (bits, rest, word) in words {
                fill(&mut table, bits, rest, more, word);
            }
            second.extend(table);
        }
        Self { first: first.try_into().unwrap_or_else(|_| unreachable!("made so long")), second }
    }
}

fn quad_table(words: &[u32; 16]) -> Box<[Quad; 1 << QUAD_BITS]> {
    let mut table = vec![Quad::default(); 1 << QUAD_BITS];
    for (at, &word) in words.iter().enumerate() {
        let len = word.ilog2();
        let n_signs = at.count_ones();
        for signs in 0..1 << n_signs {
            let mut left = n_signs;
            let values = [8, 4, 2, 1].map(|bit| {
                if at & bit == 0 {
                    return 0.0;
                }
                left -= 1;
                if signs >> left & 1 == 1 { -1.0 } else { 1.0 }
            });
            let bits = (word ^ 1 << len) << n_signs | signs;
            let quad = Quad { values, word: len as u8, len: (len + n_signs) as u8 };
            fill(&mut table, bits, len + n_signs, QUAD_BITS, quad);
        }
    }
    table.try_into().unwrap_or_else(|_| unreachable!("made so long"))
}

/// Sets all places of a table of `width` bits that begin with the `len` bits given.
fn fill<T: Copy>(table: &mut [T], bits: u32, len: u32, width: u32, value: T) {
    let free = width - len;
    table[(bits as usize) << free..][..1 << free].fill(value);
}

/// What the codes of one granule and channel say.
pub struct Coded {
    /// Where pairs end.
    pub n_pairs: usize,
    /// The first line of the second and third region.
    pub regions: [usize; 2],
    /// Their tables.
    pub tables: [u8; 3],
    /// Whether quadruples are coded by table B.
    pub quads_b: bool,
    /// The bit behind the last code.
    pub end: usize,
}

/// Decodes into `lines`, which are zero; the values still lack their gains. Returns where the lines end
/// that may be other than zero.
pub fn decode(bytes: &[u8], at: usize, coded: &Coded, lines: &mut [f32; LINES]) -> usize {
    let tables = tables();
    let mut cache = Cache::new(bytes, at);
    let n_paired = 2 * coded.n_pairs;
    let [a, b] = coded.regions.map(|line| line.min(n_paired));
    for (region, number) in [0..a, a..b.max(a), b.max(a)..n_paired].into_iter().zip(coded.tables) {
        tables.decode_pairs(&mut cache, number, &mut lines[region]);
    }
    tables.decode_quads(&mut cache, coded, n_paired, lines)
}

impl Tables {
    fn decode_pairs(&self, cache: &mut Cache, number: u8, lines: &mut [f32]) {
        let (index, linbits) = match number {
            1..=3 => (number - 1, 0),
            5..=13 => (number - 2, 0),
            15 => (12, 0),
            16..=23 => (13, LINBITS[usize::from(number - 16)]),
            24.. => (14, LINBITS[usize::from(number - 16)]),
            // Zeros, which need no bits.
            _ => return,
        };
        let table = &self.pairs[usize::from(index)];
        for lines in lines.as_chunks_mut::<2>().0 {
            cache.need(FIRST_BITS);
            let pair = &table.first[cache.peek(FIRST_BITS)];
            if pair.len > 0 {
                cache.skip(u32::from(pair.len));
                *lines = pair.values;
            } else {
                *lines = self.long_pair(cache, table, *pair, linbits);
            }
        }
    }

    /// A pair that the first table does not hold whole.
    #[inline(never)]
    fn long_pair(
        &self,
        cache: &mut Cache,
        table: &PairTable,
        pair: Pair,
        linbits: u32,
    ) -> [f32; 2] {
        // At most 19 bits of the word, and twice 13 bits and a sign.
        cache.fill();
        let more = cache.peek_after(FIRST_BITS, u32::from(pair.more));
        let word = table.second[usize::from(pair.at) + more];
        cache.skip(u32::from(word.len));
        word.values.map(|value| {
            let mut value = usize::from(value);
            if value == 15 {
                value += cache.take(linbits);
            }
            let power = self.powers[value];
            if value > 0 && cache.take(1) == 1 { -power } else { power }
        })
    }

    /// Quadruples follow as long as there are bits and lines.
    fn decode_quads(
        &self,
        cache: &mut Cache,
        coded: &Coded,
        from: usize,
        lines: &mut [f32; LINES],
    ) -> usize {
        let table = &self.quads[usize::from(coded.quads_b)];
        let mut line = from;
        while line < LINES {
            cache.need(QUAD_BITS);
            let quad = &table[cache.peek(QUAD_BITS)];
            // The word alone decides; its signs may lie beyond the end.
            if cache.at() + usize::from(quad.word) > coded.end {
                break;
            }
            cache.skip(u32::from(quad.len));
            match lines[line..].first_chunk_mut() {
                Some(four) => *four = quad.values,
                None => lines[line..].copy_from_slice(&quad.values[..LINES - line]),
            }
            line += 4;
        }
        line.min(LINES)
    }
}

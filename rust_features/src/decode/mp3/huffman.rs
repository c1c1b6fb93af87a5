//! Huffman codes → lines of the spectrum: ISO 11172-3, 2.4.1.7, 2.4.2.7, 2.4.3.4.6 and 2.4.3.4.7.
//!
//! A table that is indexed by the next bits gives a pair of values at once, signs included, already
//! raised to the power of 4/3. What does not fit into those bits is looked up a second time. A branch
//! that the processor cannot foresee costs as much as two pairs: there is one a pair, whether it is
//! looked up twice.

use std::sync::LazyLock;

use super::bits::Cache;
use super::codes::{LINBITS, PAIRS, PairCodes, QUADS_A, QUADS_B};
use super::scale_factors::Gains;

/// Lines of a granule.
pub const LINES: usize = 576;

/// Bits that the first table of each code is indexed by.
const FIRST_BITS: u32 = 10;

/// The most bits of a quadruple, signs included.
const QUAD_BITS: u32 = 10;

/// The most that a value can be: 15 and 13 more bits.
const MOST: usize = 15 + (1 << 13) - 1;

/// A code word.
#[derive(Clone, Copy, Default)]
struct Word {
    len: u8,
    values: [u8; 2],
}

/// Where the second table knows a code word: from `at` on, by the `bits` that follow the first ones.
#[derive(Clone, Copy, Default)]
struct Link {
    at: u16,
    bits: u8,
}

/// An array that is indexed by the next bits.
type First<T> = Box<[T; 1 << FIRST_BITS]>;

/// A code of pairs.
struct PairTable {
    /// Bits of the pair with its signs; 0 if they are more than the table is indexed by.
    lens: First<u8>,
    /// sign · |value|^(4/3) of both.
    values: First<[f32; 2]>,
    /// For the long ones.
    links: First<Link>,
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
pub struct CodeTables {
    pairs: Vec<PairTable>,
    quads: [Box<[Quad; 1 << QUAD_BITS]>; 2],
    /// n^(4/3).
    powers: Vec<f32>,
}

/// The codes, made when they are first used.
pub fn tables() -> &'static CodeTables {
    static TABLES: LazyLock<CodeTables> = LazyLock::new(|| {
        let powers: Vec<f32> = (0..=MOST).map(|n| (n as f64).powf(4.0 / 3.0) as f32).collect();
        let pairs = PAIRS.iter().map(|codes| PairTable::new(codes, &powers)).collect();
        CodeTables { pairs, quads: [quad_table(&QUADS_A), quad_table(&QUADS_B)], powers }
    });
    &TABLES
}

impl PairTable {
    fn new(codes: &PairCodes, powers: &[f32]) -> Self {
        let mut table = Self {
            lens: boxed(0),
            values: boxed([0.0; 2]),
            links: boxed(Link::default()),
            second: Vec::new(),
        };
        // Words that are longer than the first bits, by those bits.
        let mut long = vec![Vec::new(); 1 << FIRST_BITS];
        for (at, &word) in codes.words.iter().enumerate() {
            let len = word.ilog2();
            let bits = word ^ 1 << len;
            let values = [at / codes.side, at % codes.side];
            let n_signs = values.iter().filter(|&&v| v != 0).count() as u32;
            let escapes = codes.number >= 16 && values.contains(&15);
            let entry = Word { len: len as u8, values: values.map(|v| v as u8) };
            if len > FIRST_BITS {
                let rest = len - FIRST_BITS;
                let below = bits & ((1 << rest) - 1);
                long[(bits >> rest) as usize].push((below, rest, entry));
            } else if escapes || len + n_signs > FIRST_BITS {
                let link = Link { at: table.second.len() as u16, bits: 0 };
                fill(&mut table.links[..], bits, len, FIRST_BITS, link);
                table.second.push(entry);
            } else {
                table.add_short(bits, entry, n_signs, values.map(|v| powers[v]));
            }
        }
        for (link, words) in table.links.iter_mut().zip(long) {
            let Some(bits) = words.iter().map(|&(_, rest, _)| rest).max() else { continue };
            *link = Link { at: table.second.len() as u16, bits: bits as u8 };
            let mut second = vec![Word::default(); 1 << bits];
            for (below, rest, entry) in words {
                fill(&mut second, below, rest, bits, entry);
            }
            table.second.extend(second);
        }
        table
    }

    /// A word that fits into the first bits with all its signs.
    fn add_short(&mut self, bits: u32, word: Word, n_signs: u32, powers: [f32; 2]) {
        let len = u32::from(word.len) + n_signs;
        for signs in 0..1 << n_signs {
            let mut left = n_signs;
            let values = powers.map(|power| {
                if power == 0.0 {
                    return 0.0;
                }
                left -= 1;
                if signs >> left & 1 == 1 { -power } else { power }
            });
            let bits = bits << n_signs | signs;
            fill(&mut self.lens[..], bits, len, FIRST_BITS, len as u8);
            fill(&mut self.values[..], bits, len, FIRST_BITS, values);
        }
    }
}

fn boxed<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    vec![value; N].try_into().unwrap_or_else(|_| unreachable!("made so long"))
}

fn quad_table(words: &[u32; 16]) -> Box<[Quad; 1 << QUAD_BITS]> {
    let mut table = boxed(Quad::default());
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
            fill(&mut table[..], bits, len + n_signs, QUAD_BITS, quad);
        }
    }
    table
}

/// Sets all places of a table of `width` bits that begin with the `len` bits given.
fn fill<T: Copy>(table: &mut [T], bits: u32, len: u32, width: u32, value: T) {
    let free = width - len;
    table[(bits as usize) << free..][..1 << free].fill(value);
}

/// Pairs whose bits can be made valid together.
const TOGETHER: usize = (56 / FIRST_BITS) as usize;

/// What the codes of one granule and channel say.
pub struct Coded<'a> {
    /// The band of each pair of lines, and the bands' gains.
    pub bands: &'a [u8; LINES / 2],
    pub gains: &'a Gains,
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

/// Decodes into `lines`, which are zero. Returns where the lines end that may be other than zero.
pub fn decode(bytes: &[u8], at: usize, coded: &Coded, lines: &mut [f32; LINES]) -> usize {
    let tables = tables();
    let mut cache = Cache::new(bytes, at);
    let n_paired = 2 * coded.n_pairs;
    let [a, b] = coded.regions.map(|line| line.min(n_paired));
    for (region, number) in [0..a, a..b.max(a), b.max(a)..n_paired].into_iter().zip(coded.tables) {
        let bands = &coded.bands[region.start / 2..region.end / 2];
        tables.decode_pairs(&mut cache, number, coded.gains, bands, &mut lines[region]);
    }
    tables.decode_quads(&cache, coded, n_paired, lines)
}

impl CodeTables {
    fn decode_pairs(
        &self,
        cache: &mut Cache,
        number: u8,
        gains: &Gains,
        bands: &[u8],
        lines: &mut [f32],
    ) {
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
        // A copy, which stays in registers.
        let mut ahead = *cache;
        let (groups, last) = lines.as_chunks_mut::<2>().0.as_chunks_mut::<TOGETHER>();
        let (group_bands, last_bands) = bands.as_chunks::<TOGETHER>();
        let code = Code { tables: self, table, gains, linbits };
        for (group, bands) in groups.iter_mut().zip(group_bands) {
            code.decode(&mut ahead, group, bands);
        }
        code.decode(&mut ahead, last, last_bands);
        *cache = ahead;
    }

    /// Quadruples follow as long as there are bits and lines.
    fn decode_quads(
        &self,
        cache: &Cache,
        coded: &Coded,
        from: usize,
        lines: &mut [f32; LINES],
    ) -> usize {
        let table = &self.quads[usize::from(coded.quads_b)];
        let mut ahead = *cache;
        let mut line = from;
        while line < LINES {
            ahead.need(QUAD_BITS);
            let quad = &table[ahead.peek(QUAD_BITS)];
            // The word alone decides; its signs may lie beyond the end.
            if ahead.at() + usize::from(quad.word) > coded.end {
                break;
            }
            ahead.skip(u32::from(quad.len));
            for (pair, values) in quad.values.as_chunks::<2>().0.iter().enumerate() {
                let at = line / 2 + pair;
                if at < LINES / 2 {
                    let gain = coded.gains.of(coded.bands[at]);
                    lines[2 * at..2 * at + 2].copy_from_slice(&values.map(|value| value * gain));
                }
            }
            line += 4;
        }
        line.min(LINES)
    }
}

/// The code of a region.
struct Code<'a> {
    tables: &'a CodeTables,
    table: &'a PairTable,
    gains: &'a Gains,
    linbits: u32,
}

impl Code<'_> {
    /// Decodes `TOGETHER` pairs at most.
    #[inline(always)]
    fn decode(&self, ahead: &mut Cache, pairs: &mut [[f32; 2]], bands: &[u8]) {
        ahead.fill();
        for (pair, &band) in pairs.iter_mut().zip(bands) {
            let next = ahead.peek(FIRST_BITS);
            let gain = self.gains.of(band);
            let len = u32::from(self.table.lens[next]);
            if len > 0 {
                ahead.skip(len);
                let [x, y] = &self.table.values[next];
                pair[0] = x * gain;
                pair[1] = y * gain;
                continue;
            }
            // At most 19 bits of the word, and twice 13 bits and a sign.
            ahead.fill();
            let (len, values) = self.long_pair(ahead.bits());
            ahead.skip(len);
            ahead.fill();
            *pair = values.map(|value| value * gain);
        }
    }

    /// The pair that the next bits begin with, and its bits, if the first table does not hold it whole.
    #[inline(never)]
    fn long_pair(&self, next: u64) -> (u32, [f32; 2]) {
        let link = self.table.links[(next >> (64 - FIRST_BITS)) as usize];
        let more = (next << FIRST_BITS >> 1 >> (63 - link.bits)) as usize;
        let word = self.table.second[usize::from(link.at) + more];
        let mut len = u32::from(word.len);
        let mut take = |n: u32| {
            let bits = (next << len >> 1 >> (63 - n)) as usize;
            len += n;
            bits
        };
        // No branches: neither signs nor escapes can be foreseen.
        let [x, y] = word.values.map(usize::from);
        let escaped = [x, y].map(|value| if value == 15 { self.linbits } else { 0 });
        let x_power = self.tables.powers[x + take(escaped[0])];
        let x_sign = take(u32::from(x > 0)) as u32;
        let y_power = self.tables.powers[y + take(escaped[1])];
        let y_sign = take(u32::from(y > 0)) as u32;
        let signed = |power: f32, sign: u32| f32::from_bits(power.to_bits() | sign << 31);
        (len, [signed(x_power, x_sign), signed(y_power, y_sign)])
    }
}

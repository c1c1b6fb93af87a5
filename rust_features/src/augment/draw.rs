//! Random numbers as a function of (seed, epoch, index): nothing that would have to be saved, shared
//! out or counted.
//!
//! Philox4x64-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): a
//! counter goes through ten rounds of multiplication under a key. The numbers are those of
//! `numpy.random.Generator(numpy.random.Philox(key=[seed, 0], counter=[0, stream, index, epoch]))`.

const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];

fn philox(mut counter: [u64; 4], mut key: [u64; 2]) -> [u64; 4] {
    for _ in 0..10 {
        let [a, b] = [0, 1].map(|i| u128::from(MULTIPLIERS[i]) * u128::from(counter[2 * i]));
        counter = [
            (b >> 64) as u64 ^ counter[1] ^ key[0],
            b as u64,
            (a >> 64) as u64 ^ counter[3] ^ key[1],
            a as u64,
        ];
        key = [0, 1].map(|i| key[i].wrapping_add(WEYL[i]));
    }
    counter
}

/// What numbers are drawn for. Each has its own, whatever else is drawn or switched off.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Window,
    Pitch,
    Filter,
    Reverb,
    BandLimit,
    Noise,
    Gain,
    Clip,
    Polarity,
    Shift,
    /// The impulse responses of a plan, one an index.
    Impulses,
    /// The noises of a plan, one an index.
    Noises,
    /// After the others, whose numbers must stay.
    Phrase,
}

/// The numbers of one stream for one clip of one epoch.
pub(super) struct Draws {
    key: [u64; 2],
    counter: [u64; 4],
    block: [u64; 4],
    used: usize,
}

impl Draws {
    pub fn new(seed: u64, epoch: u64, index: u64, stream: Purpose) -> Self {
        let counter = [0, stream as u64, index, epoch];
        Self { key: [seed, 0], counter, block: [0; 4], used: 4 }
    }

    fn next(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.counter[0] += 1;
            self.block = philox(self.counter, self.key);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// In [0, 1), of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// In [low, high).
    pub fn uniform(&mut self, [low, high]: [f64; 2]) -> f64 {
        low + (high - low) * self.unit()
    }

    /// In [low, high), its logarithm uniform.
    pub fn log_uniform(&mut self, [low, high]: [f64; 2]) -> f64 {
        low * (high / low).powf(self.unit())
    }

    /// In 0..n, n at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_equals_the_reference() {
        // Random123 1.14, kat_vectors: "philox4x64 10".
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b]
        );
        assert_eq!(
            philox([u64::MAX; 4], [u64::MAX; 2]),
            [0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0]
        );
    }

    #[test]
    fn numbers_stay_the_same() {
        let mut draws = Draws::new(7, 3, 11, Purpose::Noise);
        let numbers: [f64; 5] = std::array::from_fn(|_| draws.unit());
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        let mut again = Draws::new(7, 3, 11, Purpose::Noise);
        assert_eq!(numbers, std::array::from_fn(|_| again.unit()));
        let mut other = Draws::new(7, 3, 11, Purpose::Gain);
        assert_ne!(numbers[0], other.unit());
    }
}

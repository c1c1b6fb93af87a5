//! Bits of a stream, the most significant first.

/// A reader of bits. Behind the last byte there are zeros without end.
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Reads from bit `at` on.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The bit that comes next.
    pub fn at(&self) -> usize {
        self.at
    }

    /// At least 57 bits, from the top.
    #[inline(always)]
    fn ahead(&self) -> u64 {
        window(self.bytes, self.at >> 3) << (self.at & 7)
    }

    /// The next `n` bits, 0 to 32.
    #[inline(always)]
    pub fn take(&mut self, n: u32) -> u32 {
        let value = (self.ahead() >> 1 >> (63 - n)) as u32;
        self.at += n as usize;
        value
    }

    /// The next bit.
    #[inline(always)]
    pub fn flag(&mut self) -> bool {
        self.take(1) == 1
    }
}

/// Eight bytes from `at` on.
#[inline(always)]
fn window(bytes: &[u8], at: usize) -> u64 {
    if let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    eight[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(eight)
}

/// The same for variable codes, with the next bits in a register.
#[derive(Clone, Copy)]
pub struct Cache<'a> {
    bytes: &'a [u8],
    /// The byte that comes into the register next.
    next: usize,
    /// The bits that come next, from the top.
    ahead: u64,
    /// How many of them are valid.
    valid: u32,
}

impl<'a> Cache<'a> {
    /// Reads from bit `at` on.
    #[inline(always)]
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        let mut cache = Self { bytes, next: at >> 3, ahead: 0, valid: 0 };
        cache.fill();
        cache.skip((at & 7) as u32);
        cache
    }

    /// Makes at least 56 bits valid.
    #[inline(always)]
    pub fn fill(&mut self) {
        self.ahead |= window(self.bytes, self.next) >> self.valid;
        // As many whole bytes as there is room for; what is read beyond them is read again.
        self.next += ((63 - self.valid) >> 3) as usize;
        self.valid |= 56;
    }

    /// Makes at least `n` bits valid.
    #[inline(always)]
    pub fn need(&mut self, n: u32) {
        if self.valid < n {
            self.fill();
        }
    }

    /// The next `n` bits, 1 to 56; they must be valid.
    #[inline(always)]
    pub fn peek(&self, n: u32) -> usize {
        (self.ahead >> (64 - n)) as usize
    }

    /// The bits that come next, from the top.
    #[inline(always)]
    pub fn bits(&self) -> u64 {
        self.ahead
    }

    /// Moves by `n` valid bits.
    #[inline(always)]
    pub fn skip(&mut self, n: u32) {
        self.ahead <<= n;
        self.valid -= n;
    }

    /// The bit that comes next.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.next * 8 - self.valid as usize
    }
}

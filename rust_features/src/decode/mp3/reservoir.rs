//! The bytes of a frame's granules, which may begin in earlier frames: ISO 11172-3, 2.4.3.4.2 (the bit
//! reservoir) and Annex C.1.5.4.2.2.

/// The most bytes of earlier frames that a frame may use.
const MOST_KEPT: usize = 511;

/// The most bytes of a frame; one of free format may be longer, and is then cut.
const MOST_NEW: usize = 2304;

/// Zeros that follow: codes of a damaged granule may lead so far beyond the end.
const BEHIND: usize = 4096;

/// Bytes that belong together.
pub struct Reservoir {
    bytes: Box<[u8; MOST_KEPT + MOST_NEW + BEHIND]>,
    len: usize,
    /// Where what is not yet used begins.
    unused: usize,
}

impl Reservoir {
    /// Nothing.
    pub fn new() -> Self {
        Self { bytes: Box::new([0; MOST_KEPT + MOST_NEW + BEHIND]), len: 0, unused: 0 }
    }

    /// Forgets earlier frames.
    pub fn clear(&mut self) {
        self.unused = self.len;
    }

    /// Appends a frame's bytes to the last `kept` of those before. False if there are fewer: then
    /// nothing is to be decoded, but all of it is kept for the next frame.
    pub fn append(&mut self, kept: usize, frame: &[u8]) -> bool {
        let unused = self.unused.max(self.len.saturating_sub(MOST_KEPT))..self.len;
        let enough = kept <= unused.len();
        let from = unused.end - kept.min(unused.len());
        self.bytes.copy_within(from..unused.end, 0);
        let kept = unused.end - from;
        let frame = &frame[..frame.len().min(MOST_NEW)];
        let len = kept + frame.len();
        self.bytes[kept..len].copy_from_slice(frame);
        if len < self.len {
            self.bytes[len..self.len].fill(0);
        }
        self.len = len;
        self.unused = 0;
        enough
    }

    /// The bytes, and many zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..]
    }

    /// How many bytes there are without the zeros.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Marks what stands before a bit as used.
    pub fn used(&mut self, bits: usize) {
        self.unused = bits.div_ceil(8).min(self.len);
    }
}

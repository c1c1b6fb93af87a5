//! The four bytes before each frame: ISO 11172-3, 2.4.1.3 and 2.4.2.3; ISO 13818-3, 2.4.2.3.

/// Bit rates of layer III in kbit/s, of MPEG 1 and of MPEG 2 and 2.5; 0 is the free format.
const KBITS: [[usize; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Sample rates of MPEG 1; those of MPEG 2 are half, those of MPEG 2.5 a quarter of them.
const RATES: [u32; 3] = [44100, 48000, 32000];

/// Bytes of a header.
pub const HEADER_LEN: usize = 4;

/// A frame's header, of layer III.
#[derive(Clone, Copy)]
pub struct Header([u8; 4]);

impl Header {
    /// The header that stands at the beginning of these bytes, if there is one of layer III.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header = Self(*bytes.first_chunk()?);
        header.is_valid().then_some(header)
    }

    fn is_valid(self) -> bool {
        let [sync, kind, rates, _] = self.0;
        let version = kind & 0xf8 == 0xf8 || kind & 0xf8 == 0xf0 || kind & 0xf8 == 0xe0;
        sync == 0xff && version && kind & 6 == 2 && rates >> 4 != 15 && rates >> 2 & 3 != 3
    }

    /// Whether `next` may be another frame's header in the same stream.
    pub fn is_followed_by(self, next: Self) -> bool {
        (self.0[1] ^ next.0[1]) & 0xfe == 0
            && (self.0[2] ^ next.0[2]) & 0x0c == 0
            && self.is_free_format() == next.is_free_format()
    }

    fn is_free_format(self) -> bool {
        self.0[2] >> 4 == 0
    }

    /// MPEG 1, and neither 2 nor 2.5.
    pub fn is_mpeg1(self) -> bool {
        self.0[1] & 8 != 0
    }

    /// Whether 16 bits of checksum follow.
    pub fn has_checksum(self) -> bool {
        self.0[1] & 1 == 0
    }

    /// 0 to 2 for MPEG 1, 3 to 5 for MPEG 2, 6 to 8 for MPEG 2.5.
    pub fn rate_index(self) -> usize {
        let version = match self.0[1] >> 3 & 3 {
            3 => 0,
            2 => 1,
            _ => 2,
        };
        3 * version + usize::from(self.0[2] >> 2 & 3)
    }

    /// Samples per second.
    pub fn sample_rate(self) -> u32 {
        RATES[self.rate_index() % 3] >> (self.rate_index() / 3)
    }

    /// Channels.
    pub fn n_channels(self) -> usize {
        if self.0[3] >> 6 == 3 { 1 } else { 2 }
    }

    /// Granules of 576 samples.
    pub fn n_granules(self) -> usize {
        if self.is_mpeg1() { 2 } else { 1 }
    }

    /// Whether the channels are mean and difference.
    pub fn is_mid_side(self) -> bool {
        self.0[3] & 0xe0 == 0x60
    }

    /// Whether some bands are one channel with two gains.
    pub fn is_intensity(self) -> bool {
        self.0[3] & 0xd0 == 0x50
    }

    /// Bytes of padding.
    pub fn padding(self) -> usize {
        usize::from(self.0[2] >> 1 & 1)
    }

    /// Bytes of the frame with its header, where one of free format has `free_len` without padding.
    pub fn frame_len(self, free_len: usize) -> usize {
        let kbits = KBITS[usize::from(!self.is_mpeg1())][usize::from(self.0[2] >> 4)];
        let len = 72_000 * self.n_granules() * kbits / self.sample_rate() as usize;
        self.padding() + if len > 0 { len } else { free_len }
    }
}

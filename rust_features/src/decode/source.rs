//! The bytes of a recording, from a file or from memory, without what stands before the audio format.

use std::fs::{File, OpenOptions};
use std::io::{Cursor, Error, Read, Result, Seek, SeekFrom};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use symphonia::core::io::MediaSource;

/// A file up to this size is read at once: seeking in it then costs nothing.
const WHOLE_LEN: u64 = 1 << 20;

pub(super) struct Source {
    bytes: Bytes,
    /// Where the format begins; positions seen from outside count from here.
    start: u64,
    /// Length of all bytes, those before `start` too.
    len: u64,
}

enum Bytes {
    File(File),
    Memory(Cursor<Vec<u8>>),
}

impl Source {
    /// Opens a regular file and nothing else, whatever takes its place meanwhile: a pipe, and what
    /// only looks like a file (`/proc/kmsg`), must neither block nor go on for ever.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let mut file = options.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Error::other("is no longer a regular file"));
        }
        let len = metadata.len();
        if len == 0 {
            return Ok(Self::from_bytes(Vec::new())); // Of /proc, too: reading might wait for ever.
        }
        if len > WHOLE_LEN {
            return Ok(Self { bytes: Bytes::File(file), start: 0, len });
        }
        let mut bytes = Vec::with_capacity(len as usize + 1);
        // The file may have grown since; what comes after the length above is left out.
        Read::by_ref(&mut file).take(WHOLE_LEN).read_to_end(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u64, bytes: Bytes::Memory(Cursor::new(bytes)), start: 0 }
    }

    /// The first `n` bytes (fewer if there are no more); the position is then 0.
    pub fn head(&mut self, n: usize) -> Result<Vec<u8>> {
        self.rewind()?;
        let mut head = Vec::new();
        self.by_ref().take(n as u64).read_to_end(&mut head)?;
        self.rewind()?;
        Ok(head)
    }

    /// Leaves `n` bytes out at the start.
    pub fn skip(&mut self, n: u64) {
        self.start = self.start.saturating_add(n).min(self.len);
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        match &mut self.bytes {
            Bytes::File(file) => file.read(out),
            Bytes::Memory(cursor) => cursor.read(out),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(at.saturating_add(self.start)),
            other => other,
        };
        let at = match &mut self.bytes {
            Bytes::File(file) => file.seek(to),
            Bytes::Memory(cursor) => cursor.seek(to),
        }?;
        at.checked_sub(self.start).ok_or_else(|| std::io::ErrorKind::InvalidInput.into())
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len - self.start)
    }
}

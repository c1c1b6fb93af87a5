//! The checksum of a file: XXH3 of 128 bits, as `xxh128sum` prints it. It finds damage, not forgery.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Bytes read at once.
const BUFFER_LEN: usize = 1 << 18;

/// Length in bytes and checksum of a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn checksum(path: &Path) -> Result<(u64, String)> {
    let read = || {
        let (mut file, mut hash, mut len) = (File::open(path)?, Xxh3::new(), 0);
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((len, format!("{:032x}", hash.digest128()))),
                n => {
                    hash.update(&buffer[..n]);
                    len += n as u64;
                }
            }
        }
    };
    read().map_err(|source| Error::Io { path: path.to_owned(), source })
}

//! NumPy's `.npy` files, written row by row: format 1.0, see numpy.lib.format.
//!
//! Rows go out with plain write calls, never through a memory map: on a full disk a write call fails
//! with an error, a memory map kills the process with SIGBUS.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::atomic::{io, temporary};
use crate::error::Result;

/// Length of the header in bytes: fixed, so that the number of rows can be filled in at the end.
/// NumPy wants a multiple of 64; 128 holds every shape that fits on a disk.
const HEADER_LEN: usize = 128;

/// Bytes after which what was written goes to the disk, so that little is left to wait for at the end.
const SYNC_BYTES: usize = 8 << 20;

/// A `.npy` file that grows. It has a temporary name until [`commit`](Self::commit): under its own
/// name it is complete or absent.
pub struct NpyWriter {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    descr: &'static str,
    row_shape: Vec<usize>,
    row_bytes: usize,
    n_rows: usize,
    unsynced: usize,
    committed: bool,
}

impl NpyWriter {
    /// Starts the file. `descr` is NumPy's type string without the byte order ("f4", "i8"); a row has
    /// the shape `row_shape`, in C order.
    pub fn create(path: &Path, descr: &'static str, row_shape: &[usize]) -> Result<Self> {
        let item_bytes = descr[1..].parse::<usize>().expect("descr is a kind and a size in bytes");
        let temporary = temporary(path);
        let file = File::create(&temporary).map_err(io(&temporary))?;
        let mut writer = Self {
            file,
            path: path.to_owned(),
            temporary,
            descr,
            row_shape: row_shape.to_owned(),
            row_bytes: item_bytes * row_shape.iter().product::<usize>(),
            n_rows: 0,
            unsynced: 0,
            committed: false,
        };
        writer.write_header()?;
        Ok(writer)
    }

    /// Number of rows so far.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Appends whole rows, given as the bytes of their values in the machine's byte order.
    pub fn append(&mut self, rows: &[u8]) -> Result<()> {
        debug_assert_eq!(rows.len() % self.row_bytes, 0);
        self.file.write_all(rows).map_err(io(&self.temporary))?;
        self.n_rows += rows.len() / self.row_bytes;
        self.unsynced += rows.len();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data().map_err(io(&self.temporary))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Takes back all rows after the first `n_rows`.
    pub fn truncate(&mut self, n_rows: usize) -> Result<()> {
        let end = (HEADER_LEN + n_rows * self.row_bytes) as u64;
        self.file
            .set_len(end)
            .and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .map_err(io(&self.temporary))?;
        self.n_rows = n_rows;
        Ok(())
    }

    /// Fills in the number of rows, makes the bytes durable, and gives the file its name.
    pub fn commit(mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map_err(io(&self.temporary))?;
        self.write_header()?;
        self.file.sync_all().map_err(io(&self.temporary))?;
        std::fs::rename(&self.temporary, &self.path).map_err(io(&self.path))?;
        self.committed = true;
        Ok(())
    }

    fn write_header(&mut self) -> Result<()> {
        let order = if cfg!(target_endian = "little") { '<' } else { '>' };
        let shape: String = std::iter::once(&self.n_rows)
            .chain(&self.row_shape)
            .map(|n| format!("{n}, "))
            .collect::<String>();
        let dict = format!(
            "{{'descr': '{order}{}', 'fortran_order': False, 'shape': ({}), }}",
            self.descr,
            shape.trim_end_matches(' ').trim_end_matches(if self.row_shape.is_empty() {
                '\0' // A tuple of one keeps its comma.
            } else {
                ','
            }),
        );
        let text_len = HEADER_LEN - 10;
        assert!(dict.len() < text_len, "the header fits");
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(b"\x93NUMPY\x01\x00");
        header.extend_from_slice(&(text_len as u16).to_le_bytes());
        header.extend_from_slice(format!("{dict:<0$}\n", text_len - 1).as_bytes());
        self.file.write_all(&header).map_err(io(&self.temporary))
    }
}

impl Drop for NpyWriter {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing can be done about a failure here; the next run overwrites the file.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(row_shape: &[usize], rows: &[u8]) -> String {
        let folder = std::env::temp_dir().join(format!("npy-{}-{row_shape:?}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.npy");
        let mut writer = NpyWriter::create(&path, "f4", row_shape).unwrap();
        writer.append(rows).unwrap();
        assert!(!path.exists());
        writer.commit().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(bytes.len(), HEADER_LEN + rows.len());
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(bytes[HEADER_LEN - 1], b'\n');
        String::from_utf8(bytes[10..HEADER_LEN].to_vec()).unwrap().trim_end().to_owned()
    }

    #[test]
    fn header_is_a_python_literal() {
        let shape = |s: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {s}, }}");
        assert_eq!(header_of(&[44, 128], &[0; 2 * 44 * 128 * 4]), shape("(2, 44, 128)"));
        assert_eq!(header_of(&[], &[0; 12]), shape("(3,)"));
    }

    #[test]
    fn rows_can_be_taken_back() {
        let path = std::env::temp_dir().join(format!("npy-back-{}.npy", std::process::id()));
        let mut writer = NpyWriter::create(&path, "i8", &[2]).unwrap();
        writer.append(&[1; 32]).unwrap();
        writer.append(&[2; 16]).unwrap();
        writer.truncate(1).unwrap();
        writer.append(&[3; 16]).unwrap();
        assert_eq!(writer.n_rows(), 2);
        writer.commit().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes[HEADER_LEN..], [[1; 16], [3; 16]].concat());
    }
}

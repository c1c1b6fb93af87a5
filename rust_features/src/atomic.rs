//! Files that are complete or absent under their name, and stay so when the power fails.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a small file so that under its name it is complete or absent.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        io(path)(error)
    })
}

/// Makes renames inside `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    // Windows cannot open a folder, and needs no such step.
    if cfg!(unix) {
        File::open(folder).and_then(|file| file.sync_all()).map_err(io(folder))?;
    }
    Ok(())
}

/// Where a file is written before it gets its name.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// The error of that file or folder.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

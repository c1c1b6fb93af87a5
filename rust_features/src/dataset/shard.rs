//! One shard on disk: the features of a run of recordings, their index, and what became of each.

use std::path::{Path, PathBuf};

use super::{Dtype, Outcome, Piece};
use crate::atomic::{sync_folder, write_atomically};
use crate::checksum::checksum;
use crate::error::Result;
use crate::npy::NpyWriter;

/// Writes the files of one shard:
///
/// - `NNNNN.npy`, the rows: clips `[n, frames, features]`, or frames `[n, features]`;
/// - `NNNNN.clips.npy`, int64 `[n_clips, 2]`: the recording's id, and where in it the clip starts (in
///   samples at the features' rate);
/// - `NNNNN.offsets.npy`, int64 `[n_clips + 1]`, only for clips of variable length: clip `i` is the
///   rows `offsets[i]..offsets[i + 1]`;
/// - `NNNNN.recordings.jsonl`, the [`Outcome`] of each recording, then length and checksum of each file
///   above. It is named last: the shard is complete when this file exists.
pub(super) struct ShardWriter {
    folder: PathBuf,
    name: String,
    rows: NpyWriter,
    /// (recording, start) of each clip, flat.
    clips: Vec<i64>,
    /// First row of each clip, for clips of variable length.
    offsets: Option<Vec<i64>>,
    outcomes: Vec<u8>,
    /// Rows and clips before the recording that is being written.
    mark: (usize, usize),
}

impl ShardWriter {
    pub fn create(
        folder: &Path,
        number: usize,
        dtype: Dtype,
        row_shape: &[usize],
        variable: bool,
    ) -> Result<Self> {
        let name = format!("{number:05}");
        let rows =
            NpyWriter::create(&folder.join(format!("{name}.npy")), dtype.descr(), row_shape)?;
        Ok(Self {
            folder: folder.to_owned(),
            name,
            rows,
            clips: Vec::new(),
            offsets: variable.then(Vec::new),
            outcomes: Vec::new(),
            mark: (0, 0),
        })
    }

    /// Appends clips of the current recording.
    pub fn append(&mut self, id: usize, piece: &Piece) -> Result<()> {
        if let Some(offsets) = &mut self.offsets {
            // Variable length: the recording is one clip, and arrives in pieces.
            if self.clips.len() == self.mark.1 {
                self.clips.extend([id as i64, 0]);
                offsets.push(self.rows.n_rows() as i64);
            }
        } else {
            self.clips.extend(piece.starts.iter().flat_map(|&start| [id as i64, start as i64]));
        }
        self.rows.append(piece.values.bytes())
    }

    /// Retracts what the current recording has written so far.
    pub fn retract(&mut self) -> Result<()> {
        let (rows, clips) = self.mark;
        self.clips.truncate(clips);
        if let Some(offsets) = &mut self.offsets {
            offsets.truncate(clips / 2);
        }
        if self.rows.n_rows() == rows { Ok(()) } else { self.rows.truncate(rows) }
    }

    /// Ends the current recording.
    pub fn end_recording(&mut self, outcome: &Outcome) {
        serde_json::to_writer(&mut self.outcomes, outcome).expect("plain data serialises");
        self.outcomes.push(b'\n');
        self.mark = (self.rows.n_rows(), self.clips.len());
    }

    /// Makes the shard durable and complete.
    pub fn commit(mut self) -> Result<()> {
        let variable = self.offsets.is_some();
        if let Some(mut offsets) = self.offsets.take() {
            offsets.push(self.rows.n_rows() as i64);
            self.write_index("offsets", &[], &offsets)?;
        }
        self.write_index("clips", &[2], &self.clips)?;
        self.rows.commit()?;
        let mut files = serde_json::Map::new();
        for kind in ["npy", "clips.npy", "offsets.npy"] {
            let path = self.folder.join(format!("{}.{kind}", self.name));
            if kind != "offsets.npy" || variable {
                let (bytes, xxh128) = checksum(&path)?;
                files.insert(kind.into(), serde_json::json!({ "bytes": bytes, "xxh128": xxh128 }));
            }
        }
        self.outcomes
            .extend_from_slice(serde_json::json!({ "files": files }).to_string().as_bytes());
        self.outcomes.push(b'\n');
        // The data must be on disk under its name before the file that vouches for it.
        sync_folder(&self.folder)?;
        let status = self.folder.join(format!("{}.recordings.jsonl", self.name));
        write_atomically(&status, &self.outcomes)?;
        sync_folder(&self.folder)
    }

    fn write_index(&self, kind: &str, row_shape: &[usize], values: &[i64]) -> Result<()> {
        let path = self.folder.join(format!("{}.{kind}.npy", self.name));
        let mut writer = NpyWriter::create(&path, "i8", row_shape)?;
        writer.append(bytemuck::cast_slice(values))?;
        writer.commit()
    }
}

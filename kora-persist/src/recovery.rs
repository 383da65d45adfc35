//! Where a recovery begins: the newest snapshot of which nothing is missing, and the log behind it.
//!
//! A server that starts, an export and the tools ask the same questions here, so that what `kora check` calls sound is what a server restores and what an export writes.

use crate::log::{Folder, LogError, Replay};
use crate::snapshot::{
    cut_of_folder, file_name, FileSummary, Manifest, Records, SnapshotError, SnapshotReader, MANIFEST_NAME,
};
use std::cmp::Reverse;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

/// Bytes of a file of a snapshot that are read at once.
const READ_BYTES: usize = 256 << 10;

/// A complete snapshot: its folder has its name.
#[derive(Debug)]
pub struct Snapshot {
    /// Its folder.
    pub path: PathBuf,
    /// The position up to which it holds everything.
    pub cut: u64,
    /// What its manifest says, if nothing of it is missing; else why it cannot be used.
    pub manifest: Result<Manifest, String>,
}

/// The complete snapshots in a folder, the newest first.
///
/// # Errors
/// The folder cannot be read.
pub fn snapshots(folder: &Path, directory: u64) -> io::Result<Vec<Snapshot>> {
    let mut found = Vec::new();
    for (cut, path) in complete(folder)? {
        let manifest = manifest_of(&path, directory, cut);
        found.push(Snapshot { path, cut, manifest });
    }
    Ok(found)
}

/// Cuts and folders of the complete snapshots in a folder, the newest first. What is in them was not looked at.
///
/// # Errors
/// The folder cannot be read.
pub fn complete(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(cut) = entry.file_name().to_str().and_then(cut_of_folder) {
            found.push((cut, entry.path()));
        }
    }
    found.sort_unstable_by_key(|(cut, _)| Reverse(*cut));
    Ok(found)
}

/// The manifest of a snapshot of which everything is there.
fn manifest_of(path: &Path, directory: u64, cut: u64) -> Result<Manifest, String> {
    let in_file = |name: &Path, what: &dyn Display| format!("{}: {what}", name.display());
    let name = path.join(MANIFEST_NAME);
    let bytes = fs::read(&name).map_err(|error| in_file(&name, &error))?;
    let manifest = Manifest::decode(&bytes).map_err(|error| in_file(&name, &error))?;
    if manifest.directory != directory {
        return Err(in_file(&name, &"it is of another data directory"));
    }
    if manifest.cut != cut {
        return Err(in_file(&name, &format!("it is of log position {}, its folder is not", manifest.cut)));
    }
    for (shard, file) in manifest.files.iter().enumerate() {
        let name = path.join(file_name(shard as u16));
        let bytes = fs::metadata(&name).map_err(|error| in_file(&name, &error))?.len();
        if bytes != file.bytes {
            return Err(in_file(&name, &format!("{bytes} bytes long instead of {}", file.bytes)));
        }
    }
    Ok(manifest)
}

/// The file of one shard of a snapshot, held to the snapshot's manifest.
pub struct ShardFile {
    reader: SnapshotReader<BufReader<File>>,
    expected: FileSummary,
}

impl ShardFile {
    /// Opens the file of a shard in the folder of a snapshot with this manifest.
    ///
    /// # Errors
    /// It cannot be read, or is of another snapshot or shard.
    pub fn open(folder: &Path, manifest: &Manifest, shard: u16) -> Result<ShardFile, SnapshotError> {
        let file = File::open(folder.join(file_name(shard)))?;
        let reader = SnapshotReader::new(BufReader::with_capacity(READ_BYTES, file))?;
        let identity = reader.identity();
        if (identity.directory, identity.cut) != (manifest.directory, manifest.cut)
            || (identity.shard, usize::from(identity.shards)) != (shard, manifest.files.len())
        {
            return Err(damaged("the file belongs to another snapshot"));
        }
        Ok(ShardFile { reader, expected: manifest.files[usize::from(shard)] })
    }

    /// The next records; none at the end.
    ///
    /// # Errors
    /// The file is damaged, or is not the one that the manifest describes, which shows at its end.
    pub fn next_records(&mut self) -> Result<Option<Records>, SnapshotError> {
        let records = self.reader.next_records()?;
        if records.is_none() && self.reader.summary() != self.expected {
            return Err(damaged("the file is not the one that the manifest describes"));
        }
        Ok(records)
    }

    /// Up to where it was read, bytes.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }
}

fn damaged(what: &'static str) -> SnapshotError {
    SnapshotError::Damaged { offset: 0, what }
}

/// The snapshot of these that a recovery loads, with its manifest.
pub fn base(snapshots: &[Snapshot]) -> Option<(&Snapshot, &Manifest)> {
    snapshots.iter().find_map(|snapshot| Some((snapshot, snapshot.manifest.as_ref().ok()?)))
}

/// The log in this folder as a recovery reads it that has these snapshots, the newest first. With `logged` there was a log all the time, so one that ends before a snapshot that
/// cannot be used has lost what was between.
///
/// # Errors
/// The log cannot be read, or is of another directory or a newer server.
pub fn log_behind(
    snapshots: &[Snapshot],
    folder: &Path,
    directory: u64,
    logged: bool,
) -> Result<Replay<Folder>, LogError> {
    let (from, run) = base(snapshots).map_or((1, 0), |(_, manifest)| (manifest.cut + 1, manifest.run));
    let highest_cut = snapshots.first().filter(|_| logged).map_or(0, |snapshot| snapshot.cut);
    let replay = Replay::open(Folder::new(folder), Some(directory), from)?;
    Ok(replay.after_snapshot_of(run).durable_up_to(highest_cut))
}

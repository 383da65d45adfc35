//! A data directory looked at while no server works in it: what is there, whether it would be restored, and how to get a server to start again when it would not.
//!
//! | what | who asks |
//! |---|---|
//! | [`inspect`] | `kora inspect DIR`: segments, snapshots, and what a recovery would do; reads the log once, of snapshots only the manifests |
//! | [`check`] | `kora check DIR`: the same, and every byte of the snapshots |
//! | [`repair`] | `kora repair DIR`: cuts the log off before the damage and puts snapshots aside that cannot be used; keeps what it takes away |
//!
//! The directory belongs to whoever calls: that no server works there, its lock says.
//!
//! A recovery takes the newest snapshot that can be used and the log from its cut on, up to the first position that is missing. Repairing is to take away what says that
//! more was there once: the frames behind the gap, and newer snapshots that cannot be used. Nothing else is touched, and nothing is lost that could have been restored.

use crate::frame::{HEADER_BYTES, TAGGED_HEADER_BYTES};
use crate::log::reader::SegmentReader;
use crate::log::replay::SegmentFacts;
use crate::log::{Batch, End, Folder, LogError};
use crate::recovery::{self, ShardFile, Snapshot};
use crate::snapshot::{self, Manifest, SnapshotError};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why a directory cannot be looked at or mended.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It holds no data of Kora.
    #[error("{0}: no data directory of Kora (there is no file kora.id with its number)")]
    NoDirectory(PathBuf),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The log cannot be read, for a reason that no repair removes: a device that fails, a file of a newer server or of another directory.
    #[error(transparent)]
    Log(LogError),
}

/// What a data directory holds.
#[derive(Debug)]
pub struct Report {
    /// Its path.
    pub path: PathBuf,
    /// Its number.
    pub directory: u64,
    /// The newest first.
    pub snapshots: Vec<Snapshot>,
    /// Folders of snapshots that were not completed: the server removes them.
    pub partial: Vec<PathBuf>,
    /// How the log ends.
    pub log: End,
    /// Records of the log that a recovery would apply.
    pub records: u64,
    /// Bytes of all segments, used or not.
    pub log_bytes: u64,
    /// What is damaged.
    pub damage: Option<LogError>,
}

impl Report {
    /// The snapshot that a recovery begins with.
    pub fn base(&self) -> Option<&Snapshot> {
        recovery::base(&self.snapshots).map(|(snapshot, _)| snapshot)
    }

    /// Whether a server would start, with everything that was durable.
    pub fn is_sound(&self) -> bool {
        self.damage.is_none() && self.snapshots.iter().all(|snapshot| snapshot.manifest.is_ok())
    }

    /// Newer snapshots than the one that can be used.
    fn unusable(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().take_while(|snapshot| snapshot.manifest.is_err())
    }

    /// The position from which on nothing can be restored.
    fn missing_lsn(&self) -> u64 {
        match &self.damage {
            Some(LogError::Damage { lsn, .. }) => *lsn,
            _ => self.log.last_lsn + 1,
        }
    }
}

/// What is in a data directory, and what a recovery would do.
///
/// # Errors
/// It is none, or cannot be read. Damage is no error: it is in the report.
pub fn inspect(path: &Path) -> Result<Report, ToolError> {
    report(path, false)
}

/// The same, and reads all of every snapshot.
///
/// # Errors
/// As for [`inspect`].
pub fn check(path: &Path) -> Result<Report, ToolError> {
    report(path, true)
}

fn report(path: &Path, whole_snapshots: bool) -> Result<Report, ToolError> {
    let directory = fs::read_to_string(path.join("kora.id"))
        .ok()
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .ok_or_else(|| ToolError::NoDirectory(path.to_owned()))?;
    let folder = path.join("snapshots");
    let partial = entries(&folder)?
        .into_iter()
        .filter(|entry| entry.to_string_lossy().ends_with(snapshot::PARTIAL_SUFFIX))
        .collect();
    let mut snapshots = if folder.exists() {
        recovery::snapshots(&folder, directory).map_err(|error| ToolError::Io(folder, error))?
    } else {
        Vec::new()
    };
    if whole_snapshots {
        snapshots.iter_mut().for_each(read_whole);
    }
    let folder = path.join("log");
    let mut replay = recovery::log_behind(&snapshots, &folder, directory, true).map_err(ToolError::Log)?;
    let mut records = 0;
    let damage = loop {
        match replay.next_batch() {
            Ok(Some(Batch { count, .. })) => records += count,
            Ok(None) => break None,
            Err(damage @ LogError::Damage { .. }) => {
                // What was read and waits for nothing is restored.
                while let Ok(Some(batch)) = replay.next_batch() {
                    records += batch.count;
                }
                break Some(damage);
            }
            Err(error) => return Err(ToolError::Log(error)),
        }
    };
    let log = replay.end().clone();
    let mut log_bytes = 0;
    for entry in entries(&folder)? {
        log_bytes += fs::metadata(&entry).map_err(|error| ToolError::Io(entry, error))?.len();
    }
    Ok(Report { path: path.to_owned(), directory, snapshots, partial, log, records, log_bytes, damage })
}

/// What is in a folder, in order of names; nothing if there is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let failed = |error| ToolError::Io(folder.to_owned(), error);
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                found.push(entry.map_err(failed)?.path());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    found.sort();
    Ok(found)
}

/// Reads all of a snapshot: one that turns out to be damaged cannot be used.
fn read_whole(snapshot: &mut Snapshot) {
    let Ok(manifest) = &snapshot.manifest else { return };
    let damage = (0..manifest.files.len() as u16).find_map(|shard| {
        let error = read_shard(&snapshot.path, manifest, shard).err()?;
        Some(format!("{}: {error}", snapshot.path.join(snapshot::file_name(shard)).display()))
    });
    if let Some(damage) = damage {
        snapshot.manifest = Err(damage);
    }
}

fn read_shard(folder: &Path, manifest: &Manifest, shard: u16) -> Result<(), SnapshotError> {
    let mut file = ShardFile::open(folder, manifest, shard)?;
    while let Some(records) = file.next_records()? {
        records.for_each(|_| Ok::<(), SnapshotError>(()))?;
    }
    Ok(())
}

/// What a repair has done.
#[derive(Debug)]
pub struct Repaired {
    /// Where everything is that it has taken away; none if nothing was to be done.
    pub backup: Option<PathBuf>,
    /// What the directory was before.
    pub before: Report,
    /// Segments that were moved away as a whole, and those that were copied and cut off.
    pub moved: Vec<PathBuf>,
    /// See there.
    pub cut_off: Vec<PathBuf>,
    /// Snapshots that were put aside.
    pub snapshots: Vec<PathBuf>,
    /// Records that were in the log and are not any more.
    pub records: u64,
    /// What it is now.
    pub after: Report,
}

/// Has the log end before the damage, so that a server starts with what comes before it. What is taken away is kept in a folder `backup` (which must not exist) of the
/// directory. Without damage nothing is done. Interrupted at any moment it can be done again.
///
/// # Errors
/// The directory is none, or a file cannot be read or written.
pub fn repair(path: &Path, backup: &str) -> Result<Repaired, ToolError> {
    let before = check(path)?;
    if before.is_sound() {
        let after = inspect(path)?;
        let nothing = Vec::new;
        return Ok(Repaired {
            backup: None,
            before,
            moved: nothing(),
            cut_off: nothing(),
            snapshots: nothing(),
            records: 0,
            after,
        });
    }
    let folder = path.join(backup);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| ToolError::Io(path, error)
    };
    fs::create_dir(&folder).map_err(io(&folder))?;
    for part in ["log", "snapshots"] {
        fs::create_dir(folder.join(part)).map_err(io(&folder))?;
    }
    // Snapshots first: as long as they are there, the log is said to be too short.
    let mut snapshots = Vec::new();
    for snapshot in before.snapshots.iter().filter(|snapshot| snapshot.manifest.is_err()) {
        let aside = folder.join("snapshots").join(snapshot.path.file_name().expect("a folder in a folder"));
        fs::rename(&snapshot.path, &aside).map_err(io(&snapshot.path))?;
        snapshots.push(aside);
    }
    let (mut moved, mut cut_off, mut records) = (Vec::new(), Vec::new(), 0);
    let missing = before.missing_lsn();
    let mut files = Folder::new(path.join("log"));
    if before.damage.is_some() {
        for facts in &before.log.segments {
            let name = files.path_of(facts.header.segment);
            let aside = folder.join("log").join(name.file_name().expect("a file in a folder"));
            let behind = frames_behind(&mut files, facts, missing).map_err(io(&name))?;
            records += behind.iter().map(|behind| behind.records).sum::<u64>();
            if facts.header.first_lsn >= missing {
                fs::rename(&name, &aside).map_err(io(&name))?;
                moved.push(aside);
            } else if !behind.is_empty() {
                fs::copy(&name, &aside).and_then(|_| File::open(&aside)?.sync_all()).map_err(io(&aside))?;
                clear(&name, &behind).map_err(io(&name))?;
                cut_off.push(aside);
            }
        }
        for (segment, _) in &before.log.unreadable {
            let name = files.path_of(*segment);
            let aside = folder.join("log").join(name.file_name().expect("a file in a folder"));
            fs::rename(&name, &aside).map_err(io(&name))?;
            moved.push(aside);
        }
    }
    for changed in [
        &folder.join("log"),
        &folder.join("snapshots"),
        &folder,
        &path.join("log"),
        &path.join("snapshots"),
        path,
    ] {
        if changed.exists() {
            File::open(changed).and_then(|folder| folder.sync_all()).map_err(io(changed))?;
        }
    }
    let after = inspect(path)?;
    Ok(Repaired { backup: Some(folder), before, moved, cut_off, snapshots, records, after })
}

/// A frame that is to go.
struct Behind {
    offset: u64,
    bytes: u64,
    records: u64,
}

/// What a segment holds from this position on, in the order of offsets: frames, and what is left of some.
fn frames_behind(files: &mut Folder, facts: &SegmentFacts, missing: u64) -> io::Result<Vec<Behind>> {
    let mut reader = SegmentReader::new(&facts.header, facts.bytes);
    let mut found = Vec::new();
    while let Some((offset, head, payload)) = reader.next_frame(files)? {
        let header = if head.tag.is_some() { TAGGED_HEADER_BYTES } else { HEADER_BYTES };
        if head.last_lsn >= missing {
            let bytes = (header + payload.len()) as u64;
            found.push(Behind { offset, bytes, records: head.last_lsn - head.first_lsn + 1 });
        }
    }
    let remains = reader.spots().iter().filter(|spot| spot.claims.is_some_and(|(_, last)| last >= missing));
    found.extend(remains.map(|spot| Behind { offset: spot.offset, bytes: HEADER_BYTES as u64, records: 0 }));
    found.sort_by_key(|behind| behind.offset);
    Ok(found)
}

/// Writes zeros over frames, durably.
fn clear(name: &Path, frames: &[Behind]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(name)?;
    let zeros = vec![0; 1 << 20];
    // The last ones first: what is left at any moment is a log that ends earlier, or one that is damaged as before.
    for frame in frames.iter().rev() {
        let mut at = 0;
        while at < frame.bytes {
            let len = (frame.bytes - at).min(zeros.len() as u64);
            file.write_all_at(&zeros[..len as usize], frame.offset + at)?;
            at += len;
        }
    }
    file.sync_all()
}

// ---- text ------------------------------------------------------------------------------------------------

/// A number of bytes as people read it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..1024 => write!(f, "{bytes} B"),
            bytes @ 1024..1_048_576 => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
            bytes @ 1_048_576..1_073_741_824 => write!(f, "{:.1} MiB", bytes as f64 / 1_048_576.0),
            bytes => write!(f, "{:.1} GiB", bytes as f64 / 1_073_741_824.0),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: data directory {:016x}", self.path.display(), self.directory)?;
        writeln!(f, "\nsnapshots: {}", self.snapshots.len())?;
        for snapshot in &self.snapshots {
            let name = snapshot.path.file_name().unwrap_or_default().to_string_lossy();
            match &snapshot.manifest {
                Ok(manifest) => writeln!(
                    f,
                    "  {name}  up to position {}, {} keys in {} files, {}, run {}",
                    snapshot.cut,
                    manifest.keys(),
                    manifest.files.len(),
                    Bytes(manifest.bytes()),
                    manifest.run
                )?,
                Err(reason) => writeln!(f, "  {name}  cannot be used: {reason}")?,
            }
        }
        for partial in &self.partial {
            let name = partial.file_name().unwrap_or_default().to_string_lossy();
            writeln!(f, "  {name}  was not completed, and is removed at the next start")?;
        }
        writeln!(f, "\nlog: {} in {} segments", Bytes(self.log_bytes), self.log.segments.len())?;
        for facts in &self.log.segments {
            let header = &facts.header;
            write!(
                f,
                "  {}  run {}, shard {} of {}, ",
                crate::log::segment_name(header.segment),
                header.run,
                header.shard,
                header.shards
            )?;
            match facts.last_lsn >= header.first_lsn {
                true => writeln!(
                    f,
                    "positions {} to {}, {}",
                    header.first_lsn,
                    facts.last_lsn,
                    Bytes(facts.bytes)
                )?,
                false => writeln!(f, "nothing that counts, {}", Bytes(facts.bytes))?,
            }
        }
        for (segment, error) in &self.log.unreadable {
            writeln!(f, "  {}  {error}", crate::log::segment_name(*segment))?;
        }
        writeln!(f, "\na recovery:")?;
        match self.base() {
            Some(base) => writeln!(f, "  begins with the snapshot of position {}", base.cut)?,
            None => writeln!(f, "  begins with nothing: there is no snapshot that can be used")?,
        }
        writeln!(
            f,
            "  applies {} records of the log, up to position {}",
            self.records,
            self.missing_lsn() - 1
        )?;
        if self.log.dropped > 0 {
            writeln!(f, "  leaves out {} transactions that had not committed", self.log.dropped)?;
        }
        match (&self.damage, &self.log.torn) {
            (Some(damage), _) => writeln!(f, "  is refused: {damage}"),
            (None, Some(torn)) => writeln!(
                f,
                "  cuts off what a crash has torn: position {} is missing, {} records behind it were never durable",
                torn.missing_lsn, torn.records
            ),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(backup) = &self.backup else {
            return writeln!(f, "{}: nothing is damaged, nothing was changed", self.before.path.display());
        };
        for snapshot in self.before.unusable() {
            if let Err(reason) = &snapshot.manifest {
                writeln!(f, "the snapshot of position {} was put aside: {reason}", snapshot.cut)?;
            }
        }
        if let Some(damage) = &self.before.damage {
            writeln!(f, "the damage was: {damage}")?;
            writeln!(
                f,
                "the log ends at position {} now; {} records behind it were taken away ({} segments moved, {} cut off)",
                self.after.log.last_lsn,
                self.records,
                self.moved.len(),
                self.cut_off.len()
            )?;
        }
        writeln!(f, "what was taken away is in {}", backup.display())
    }
}

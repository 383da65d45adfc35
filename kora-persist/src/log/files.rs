//! Where segments are read from.

use super::segment_id;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The segments of a directory.
pub trait Files {
    /// Numbers and sizes, in bytes, of all segments.
    ///
    /// # Errors
    /// They cannot be listed.
    fn list(&self) -> io::Result<Vec<(u64, u64)>>;

    /// Reads bytes of a segment from an offset on; how many, which is less than asked for only at its end.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_at(&mut self, segment: u64, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// What messages call a segment.
    fn name(&self, segment: u64) -> String {
        super::segment_name(segment)
    }
}

/// The segments in a folder.
pub struct Folder {
    path: PathBuf,
    open: HashMap<u64, File>,
}

impl Folder {
    /// The folder at this path.
    pub fn new(path: impl Into<PathBuf>) -> Folder {
        Folder { path: path.into(), open: HashMap::new() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a segment.
    pub fn path_of(&self, segment: u64) -> PathBuf {
        self.path.join(super::segment_name(segment))
    }
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(segment_id) {
                found.push((id, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn read_at(&mut self, segment: u64, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let path = self.path_of(segment);
        let file = match self.open.entry(segment) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(File::open(path)?),
        };
        let mut done = 0;
        while done < into.len() {
            match file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn name(&self, segment: u64) -> String {
        self.path_of(segment).display().to_string()
    }
}

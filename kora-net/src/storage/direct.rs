//! Files that go around the page cache, where the file system knows how.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens files with `O_DIRECT` until the file system refuses that (tmpfs and some overlays do), and without from then on.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    refused: bool,
}

impl Direct {
    /// Opens a file. What is written to it is whole blocks in aligned memory.
    ///
    /// # Errors
    /// Those of opening a file.
    pub fn open(&mut self, options: &OpenOptions, path: &Path) -> io::Result<File> {
        if !self.refused {
            match options.clone().custom_flags(libc::O_DIRECT).open(path) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.refused = true;
                    tracing::warn!(
                        path = %path.display(),
                        "the file system refuses O_DIRECT (tmpfs and some overlays do): files go through the page cache"
                    );
                }
                opened => return opened,
            }
        }
        options.open(path)
    }
}

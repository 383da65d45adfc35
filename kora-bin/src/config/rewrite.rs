//! CONFIG REWRITE: puts values into the configuration file and leaves everything else in it as it was.
//!
//! The new text is written to a neighbour of the file, synced, and renamed over it, and then the directory is synced:
//! after a crash there is the old file or the new one. The mode (and, where allowed, the owner) of the file stays. A
//! symbolic link stays a link; the file behind it is replaced.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml_edit::{DocumentMut, Item};

use super::keys;

/// Why the configuration file was not rewritten. The file is unchanged in every case.
#[derive(Debug, Error)]
pub enum RewriteError {
    /// The file or its directory refused; the service may be confined to a read-only file system.
    #[error("{path}: cannot {action}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody has edited the file since the start and it is no longer TOML; correct it first.
    #[error("{path}: not valid TOML: {message}; correct it and rewrite again")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("unknown key \"{0}\"")]
    Key(String),
    /// The value is not one that the key accepts.
    #[error("\"{key}\" must be {expects}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it accepts.
        expects: String,
    },
}

/// Sets keys of the file at `path` to values (in the spelling of a flag) or, with `None`, takes them out of it.
/// Comments, order and spacing stay; keys that were not there are added at the end.
pub fn rewrite(path: &Path, changes: &[(&str, Option<&str>)]) -> Result<(), RewriteError> {
    let failed = |path: &Path, action| {
        let path = path.to_owned();
        move |source| RewriteError::File { path, action, source }
    };
    let target = fs::canonicalize(path).map_err(failed(path, "find it"))?;
    let old = fs::read_to_string(&target).map_err(failed(path, "read it"))?;
    let new = edit(path, &old, changes)?;
    if new == old {
        return Ok(());
    }

    let folder = target.parent().expect("a file is in a directory");
    let name = target.file_name().expect("a file has a name").to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = replace(&target, &fresh, folder, &new);
    if written.is_err() {
        // Nothing to add to the error if even this fails: the stray file is harmless.
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(|(action, source)| RewriteError::File { path: path.to_owned(), action, source })
}

fn replace(
    target: &Path,
    fresh: &Path,
    folder: &Path,
    text: &str,
) -> Result<(), (&'static str, std::io::Error)> {
    let before = fs::metadata(target).map_err(|e| ("read its mode", e))?;
    let _ = fs::remove_file(fresh); // left by a crash of a process with the same number
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600) // it may hold the password: closed until it has the mode of the old file
        .open(fresh)
        .map_err(|e| ("create a file beside it", e))?;
    file.write_all(text.as_bytes()).map_err(|e| ("write", e))?;
    // Only root may give a file away; for anybody else the owner is already right or cannot be kept.
    let _ = std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()));
    file.set_permissions(before.permissions()).map_err(|e| ("set the mode", e))?;
    file.sync_all().map_err(|e| ("sync", e))?;
    fs::rename(fresh, target).map_err(|e| ("replace it", e))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| ("sync its directory", e))
}

/// The new text of the file.
fn edit(path: &Path, old: &str, changes: &[(&str, Option<&str>)]) -> Result<String, RewriteError> {
    let mut document: DocumentMut = old.parse().map_err(|error: toml_edit::TomlError| {
        RewriteError::Syntax { path: path.to_owned(), message: error.message().trim().replace('\n', ", ") }
    })?;
    for (name, text) in changes {
        let key = keys::find(name).ok_or_else(|| RewriteError::Key((*name).to_owned()))?;
        let Some(text) = text else {
            document.remove(key.name);
            continue;
        };
        let value = key
            .kind
            .parse_text(text)
            .ok_or_else(|| RewriteError::Value { key: key.name, expects: key.kind.expects() })?;
        match document.get_mut(key.name) {
            // The same value in another spelling (0x10, "1024mb") stays as the operator wrote it.
            Some(there) if key.kind.parse_toml(there, &there.to_string()).as_ref() == Some(&value) => {}
            Some(Item::Value(there)) => {
                let around = there.decor().clone();
                *there = value.to_toml();
                *there.decor_mut() = around;
            }
            _ => {
                document.insert(key.name, Item::Value(value.to_toml()));
            }
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn edited(old: &str, changes: &[(&str, Option<&str>)]) -> String {
        edit(Path::new("kora.toml"), old, changes).unwrap()
    }

    #[test]
    fn comments_order_and_spacing_stay() {
        let old = "# Our cache\n\nport = 7000   # not the default\nbind = [\n  \"127.0.0.1\", # us\n]\n\n# Who\nmax_clients=50\n# end\n";
        let new = edited(old, &[("port", Some("7001")), ("max_clients", Some("60")), ("hz", Some("20"))]);
        assert_eq!(
            new,
            "# Our cache\n\nport = 7001   # not the default\nbind = [\n  \"127.0.0.1\", # us\n]\n\n# Who\nmax_clients=60\nhz = 20\n# end\n"
        );
    }

    #[test]
    fn an_unchanged_value_keeps_its_spelling() {
        let old = "query_buffer_limit = \"1024mb\"\nport = 0x18eb\n";
        assert_eq!(edited(old, &[("query_buffer_limit", Some("1gb")), ("port", Some("6379"))]), old);
    }

    #[test]
    fn every_kind_of_value_is_written_so_that_it_can_be_read() {
        let changes = [
            ("bind", Some("127.0.0.1,::1")),
            ("unix_socket_perm", Some("770")),
            ("query_buffer_limit", Some("1536kb")),
            ("output_buffer_limit_normal", Some("1gb 0 60")),
            ("protected_mode", Some("no")),
            ("password", Some("a\"b\\c")),
            ("log_level", Some("debug")),
            ("slowlog_log_slower_than", Some("-1")),
        ];
        assert_eq!(
            edited("", &changes),
            "bind = [\"127.0.0.1\", \"::1\"]\nunix_socket_perm = \"770\"\nquery_buffer_limit = \"1536kb\"\n\
             output_buffer_limit_normal = \"1gb 0 60\"\nprotected_mode = false\npassword = 'a\"b\\c'\n\
             log_level = \"debug\"\nslowlog_log_slower_than = -1\n"
        );
    }

    #[test]
    fn a_key_is_taken_out() {
        assert_eq!(
            edited("port = 1\npassword = \"x\"\nhz = 5\n", &[("password", None)]),
            "port = 1\nhz = 5\n"
        );
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_a_link_stays_a_link() {
        let folder = crate::config::tests::Folder::new();
        let (real, link) = (folder.path("real.toml"), folder.path("kora.toml"));
        fs::write(&real, "port = 1\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        rewrite(&link, &[("port", Some("2"))]).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "port = 2\n");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 2, "no file is left beside it");
    }

    #[test]
    fn a_bad_change_leaves_the_file_alone_and_names_the_key() {
        let folder = crate::config::tests::Folder::new();
        let path = folder.path("kora.toml");
        fs::write(&path, "port = 1\n").unwrap();
        for (change, message) in [
            (("prot", Some("2")), "unknown key \"prot\""),
            (("port", Some("70000")), "\"port\" must be 0 to 65535"),
        ] {
            assert_eq!(rewrite(&path, &[("hz", Some("20")), change]).unwrap_err().to_string(), message);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "port = 1\n");
        fs::write(&path, "port = = 1\n").unwrap();
        let error = rewrite(&path, &[("port", Some("2"))]).unwrap_err().to_string();
        assert!(error.contains("kora.toml: not valid TOML"), "{error}");
        let missing = rewrite(&folder.path("absent.toml"), &[]).unwrap_err().to_string();
        assert!(
            missing.ends_with("absent.toml: cannot find it: No such file or directory (os error 2)"),
            "{missing}"
        );
    }
}

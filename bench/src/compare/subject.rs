//! What is compared: Kora, redis-server from PATH, and the peers of a file.
//!
//! ```toml
//! [[peer]]
//! name = "valkey-9"
//! path = "/opt/valkey/bin/valkey-server"
//! args = ["--port", "{port}", "--save", "", "--appendonly", "no"]
//! ```
//!
//! `{port}` is the port to listen on (127.0.0.1 only is asked of the peer, by its own flags), `{dir}` an
//! empty directory, which is also the working directory and is removed afterwards.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table};

use crate::Error;

/// Who takes part.
#[derive(clap::Args, Debug)]
pub(crate) struct SubjectArgs {
    /// Kora's binary; without it only the peers are compared.
    #[arg(long, value_name = "PATH")]
    kora: Option<PathBuf>,
    /// One more argument for Kora; may be repeated.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, requires = "kora")]
    pub(super) kora_arg: Vec<String>,
    /// Peers besides redis-server on PATH: [[peer]] tables with name, path and args.
    #[arg(long, value_name = "FILE.toml")]
    peers: Option<PathBuf>,
    /// Do not take redis-server from PATH.
    #[arg(long)]
    no_redis: bool,
}

impl SubjectArgs {
    /// Kora with so many workers, redis-server, the peers: those that there are, in this order.
    ///
    /// # Errors
    /// A program that is not there, a file of peers that cannot be read, nobody at all.
    pub(crate) fn subjects(&self, workers: usize) -> Result<Vec<Subject>, Error> {
        let mut subjects = Vec::new();
        subjects.extend(self.kora.iter().map(|path| Subject::kora(path, workers, &self.kora_arg)));
        if !self.no_redis {
            subjects.extend(Subject::redis_on_path());
        }
        if let Some(file) = &self.peers {
            for peer in Subject::peers(file)? {
                if !subjects.is_empty() && peer.name == "redis-server" {
                    let text = "a peer must not be called redis-server; use --no-redis";
                    return Err(Error::Usage(text.into()));
                }
                subjects.push(peer);
            }
        }
        for subject in &mut subjects {
            let fail = |detail: String| Error::Server { name: subject.name.clone(), detail };
            if !subject.path.is_file() {
                return Err(fail(format!("there is no program {}", subject.path.display())));
            }
            // The server runs in a directory of its own, where a relative path would lead nowhere. Links
            // are not followed: Debian's redis-server is one, to a program that looks at its own name.
            subject.path = std::path::absolute(&subject.path).map_err(|e| fail(e.to_string()))?;
        }
        if subjects.is_empty() {
            let text = "there is nothing to measure; give --kora or --peers, or install redis-server";
            return Err(Error::Usage(text.into()));
        }
        Ok(subjects)
    }
}

/// One server program and how it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// What the report calls it.
    pub(crate) name: String,
    /// The program.
    pub(crate) path: PathBuf,
    /// Its arguments, with `{port}` and `{dir}` in them.
    pub(crate) args: Vec<String>,
    /// Executors of a Kora; `None` for peers, which run as they are configured.
    pub(crate) workers: Option<usize>,
    /// A Kora with one port per executor.
    pub(crate) cluster_ports: bool,
}

impl Subject {
    /// Redis's flags for a server that keeps nothing; Valkey knows them too.
    fn redis(name: &str, path: PathBuf) -> Subject {
        let args = ["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let args = args.map(String::from).to_vec();
        Subject { name: name.into(), path, args, workers: None, cluster_ports: false }
    }

    /// Kora with `workers` executors; `extra` goes after the arguments that every run has.
    pub(crate) fn kora(path: &Path, workers: usize, extra: &[String]) -> Subject {
        let args = ["--port", "{port}", "--bind", "127.0.0.1", "--workers", &workers.to_string()];
        let args = args.iter().map(|a| a.to_string()).chain(extra.iter().cloned()).collect();
        let (name, path) = ("kora".to_string(), path.to_path_buf());
        Subject { name, path, args, workers: Some(workers), cluster_ports: false }
    }

    /// redis-server, if PATH has one.
    pub(crate) fn redis_on_path() -> Option<Subject> {
        let path = std::env::var_os("PATH")?;
        let found = std::env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|p| p.is_file());
        found.map(|path| Subject::redis("redis-server", path))
    }

    /// The peers of a file.
    pub(crate) fn peers(file: &Path) -> Result<Vec<Subject>, Error> {
        let fail = |detail: String| Error::Peers { file: file.display().to_string(), detail };
        let text = std::fs::read_to_string(file).map_err(|e| fail(e.to_string()))?;
        read_peers(&text).map_err(fail)
    }
}

fn read_peers(text: &str) -> Result<Vec<Subject>, String> {
    let document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    if let Some((key, _)) = document.iter().find(|(key, _)| *key != "peer") {
        return Err(format!("unknown key \"{key}\"; the file has [[peer]] tables only"));
    }
    let Some(peers) = document.get("peer").and_then(Item::as_array_of_tables) else {
        return Err("no [[peer]] table".into());
    };
    let mut subjects: Vec<Subject> = Vec::new();
    for (number, peer) in peers.iter().enumerate() {
        let subject =
            read_peer(peer).map_err(|problem| format!("[[peer]] number {}: {problem}", number + 1))?;
        if subjects.iter().any(|s| s.name == subject.name) {
            return Err(format!("two peers are called \"{}\"", subject.name));
        }
        subjects.push(subject);
    }
    Ok(subjects)
}

fn read_peer(peer: &Table) -> Result<Subject, String> {
    if let Some((key, _)) = peer.iter().find(|(key, _)| !["name", "path", "args"].contains(key)) {
        return Err(format!("unknown key \"{key}\"; a peer has name, path and args"));
    }
    let text = |key: &str| match peer.get(key).map(Item::as_str) {
        Some(Some(text)) if !text.is_empty() => Ok(text.to_string()),
        _ => Err(format!("{key} must be a string")),
    };
    let mut subject = Subject::redis(&text("name")?, text("path")?.into());
    if let Some(args) = peer.get("args") {
        let strings = args.as_array().and_then(|array| {
            array.iter().map(|arg| arg.as_str().map(String::from)).collect::<Option<Vec<_>>>()
        });
        subject.args = strings.ok_or("args must be an array of strings")?;
        if !subject.args.iter().any(|arg| arg.contains("{port}")) {
            return Err("args must have {port} in them".into());
        }
    }
    Ok(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_and_args_default_to_those_of_redis() {
        let text = "[[peer]]\nname = \"a\"\npath = \"/bin/a\"\nargs = [\"-p\", \"{port}\"]\n\
                    [[peer]]\nname = \"b\"\npath = \"/bin/b\"\n";
        let peers = read_peers(text).unwrap();
        assert_eq!((peers[0].name.as_str(), peers[0].path.as_path()), ("a", Path::new("/bin/a")));
        assert_eq!(peers[0].args, ["-p", "{port}"]);
        assert_eq!(peers[1].args[..2], ["--port", "{port}"]);
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        let cases = [
            ("", "no [[peer]] table"),
            ("server = 1", "unknown key \"server\""),
            ("[[peer]]\nname = \"a\"", "number 1: path must be a string"),
            ("[[peer]]\nname = 3\npath = \"/a\"", "name must be a string"),
            ("[[peer]]\nname = \"a\"\npath = \"/a\"\nargs = \"x\"", "args must be an array"),
            ("[[peer]]\nname = \"a\"\npath = \"/a\"\nargs = [\"x\"]", "{port}"),
            ("[[peer]]\nname = \"a\"\npath = \"/a\"\npots = 1", "unknown key \"pots\""),
            ("[[peer]]\nname=\"a\"\npath=\"/a\"\n[[peer]]\nname=\"a\"\npath=\"/b\"", "two peers"),
            ("[[peer\n", "line 1"),
        ];
        for (text, message) in cases {
            let problem = read_peers(text).unwrap_err();
            assert!(problem.contains(message), "{text}: {problem}");
        }
    }
}

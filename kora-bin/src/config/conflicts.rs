//! Values that are right alone and wrong together, or wrong on this machine.

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::error::{ConfigError, Origin};
use super::{Config, Loaded, Machine};

/// Everything in a loaded configuration that cannot work. Keys in `refused` had a value that was already reported;
/// nothing is derived from what stands in their place.
pub(crate) fn find(loaded: &Loaded, machine: &Machine, refused: &BTreeSet<&str>) -> Vec<ConfigError> {
    let config = &loaded.config;
    let mut errors = vec![];
    let mut report = |keys: &[&str], message: String| {
        if !keys.iter().any(|key| refused.contains(key)) {
            // The first of the keys that somebody set is the place to look at.
            let set = keys.iter().map(|key| loaded.origin(key)).find(|origin| *origin != Origin::Default);
            errors.push(ConfigError::new(set.unwrap_or(Origin::Default), message));
        }
    };

    if config.workers > machine.allowed_cores && !config.share_cores {
        let (workers, allowed) = (config.workers, machine.allowed_cores);
        let cores = if allowed == 1 { "core" } else { "cores" };
        report(
            &["workers"],
            format!("\"workers\" is {workers}, but this process may use {allowed} {cores} (taskset, cpuset); use at most {allowed}"),
        );
    }
    if config.port == 0 && config.unix_socket.is_none() && config.cluster_ports.is_none() {
        report(
            &["port", "unix_socket", "cluster_ports"],
            "\"port\" is 0 and there is no \"unix_socket\": nothing to listen on; set one of them".into(),
        );
    }
    for (i, address) in config.bind.iter().enumerate() {
        if config.bind[..i].contains(address) {
            report(&["bind"], format!("\"bind\" lists {address} twice; remove one"));
        }
    }
    if let Some(base) = config.cluster_ports {
        let last = usize::from(base) + config.workers - 1;
        let taken = usize::from(base)..=last;
        if last > usize::from(u16::MAX) {
            let highest = usize::from(u16::MAX) + 1 - config.workers;
            report(
                &["cluster_ports", "workers"],
                format!(
                    "\"cluster_ports\" {base} to {last} for {} workers pass 65535; use at most {highest}",
                    config.workers
                ),
            );
        } else if taken.contains(&usize::from(config.port)) {
            report(
                &["cluster_ports", "port", "workers"],
                format!(
                    "\"cluster_ports\" {base} to {last} overlap \"port\" {} ({}); choose others",
                    config.port,
                    loaded.origin("port")
                ),
            );
        }
    }
    if let Some(socket) = &config.unix_socket {
        if let Some(message) = socket_problem(socket) {
            report(&["unix_socket"], message);
        }
    }
    errors
}

/// Why a Unix socket cannot be made at this path.
fn socket_problem(path: &Path) -> Option<String> {
    let shown = path.display();
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Some(format!("\"unix_socket\" {shown} is a directory; name a file in it")),
    };
    if !folder.is_dir() {
        return Some(format!(
            "\"unix_socket\" {shown} is in a directory that does not exist; create {}",
            folder.display()
        ));
    }
    match path.symlink_metadata() {
        Ok(there) if !there.file_type().is_socket() => Some(format!(
            "\"unix_socket\" {shown} exists and is not a socket; remove it or choose another path"
        )),
        _ => None,
    }
}

/// Reads the password file into the configuration, unless a source of higher rank gives the password itself.
pub(crate) fn resolve_password(loaded: &mut Loaded, errors: &mut Vec<ConfigError>) {
    let Some(path) = loaded.config.password_file.clone() else { return };
    let origin = loaded.origin("password_file");
    if loaded.config.password.is_some() {
        let (password, file) = (rank(&loaded.origin("password")), rank(&origin));
        if password == file {
            errors.push(ConfigError::new(
                loaded.origin("password"),
                format!("\"password\" and \"password_file\" ({origin}) are both set; keep one"),
            ));
        }
        if password >= file {
            return;
        }
    }
    match read_password(&path) {
        Ok(password) => loaded.config.password = Some(password),
        Err(message) => {
            errors.push(ConfigError::new(origin, format!("\"password_file\" {} {message}", path.display())));
        }
    }
}

fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File(..) => 1,
        Origin::Environment(_) => 2,
        Origin::Flag(_) => 3,
    }
}

/// The only line of a file; the error completes the sentence `"password_file" PATH ...`.
fn read_password(path: &Path) -> Result<super::Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("is empty; write the password as its only line".into());
    }
    if line.contains('\n') {
        return Err("has more than one line; write the password as its only line".into());
    }
    Ok(super::Secret::new(line))
}

impl Config {
    /// The ports of the workers' own listeners, in the order of the workers.
    pub fn cluster_port_range(&self) -> Option<std::ops::RangeInclusive<u16>> {
        let base = self.cluster_ports?;
        // In range: `find` refuses a range that passes 65535.
        Some(base..=base + (self.workers - 1) as u16)
    }
}

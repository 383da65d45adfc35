//! One source of values: the file, the environment, or the flags.
//!
//! Each source is read completely before any is merged, so that a mistake in the file is reported even when a flag
//! overrides it, and so that all mistakes are reported together. A [`Layer`] holds what was accepted with its origin
//! and is a figment provider; what was refused goes to the list of errors.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};

use super::error::{ConfigError, Origin};
use super::keys::{self, Key, KEYS};
use super::suggest;
use super::value::Value;

/// Accepted values of one source, and the keys that it set to something impossible.
#[derive(Default)]
pub(crate) struct Layer {
    /// Tells the layers apart in figment's metadata.
    pub name: &'static str,
    pub values: BTreeMap<&'static str, (Value, Origin)>,
    /// Keys whose value was refused: no further errors are derived from these.
    pub refused: BTreeSet<&'static str>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        let dict: Dict =
            self.values.iter().map(|(key, (value, _))| ((*key).to_owned(), value.to_figment())).collect();
        Ok(Profile::Default.collect(dict))
    }
}

impl Layer {
    fn named(name: &'static str) -> Self {
        Layer { name, ..Layer::default() }
    }

    fn take_text(&mut self, key: &'static Key, text: &str, origin: Origin, errors: &mut Vec<ConfigError>) {
        match key.kind.parse_text(text) {
            Some(value) => {
                self.values.insert(key.name, (value, origin));
            }
            None => {
                self.refused.insert(key.name);
                let (expects, shown) = (key.kind.expects(), key.kind.show_refused_text(text));
                errors.push(ConfigError::new(origin, format!("must be {expects}, not {shown}")));
            }
        }
    }

    /// What holds when no source says anything.
    pub(crate) fn defaults(default_workers: usize) -> Self {
        let mut layer = Layer::named("default");
        for key in KEYS {
            let value = match key.default {
                keys::Default::Absent => continue,
                keys::Default::Workers => Value::Integer(default_workers as i64),
                keys::Default::Text(text) => key.kind.parse_text(text).expect("defaults are in range"),
            };
            layer.values.insert(key.name, (value, Origin::Default));
        }
        layer
    }

    /// Reads a TOML file's text; `path` is how messages call it.
    pub(crate) fn file(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Self {
        let mut layer = Layer::named("file");
        let line_of = |span: Option<std::ops::Range<usize>>| {
            let start = span.map_or(0, |span| span.start).min(text.len());
            1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
        };
        let document = match toml_edit::Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                // Only the message: the error's Display would quote the line, which may hold the password.
                let message = error.message().trim().replace('\n', ", ");
                let place = Origin::File(path.into(), line_of(error.span()));
                errors.push(ConfigError::new(place, format!("not valid TOML: {message}")));
                return layer;
            }
        };
        // A key stands at the top, or in the table of its group.
        let place = |item: &toml_edit::Item, key: Option<&toml_edit::Key>| {
            line_of(key.and_then(toml_edit::Key::span).or_else(|| item.span()))
        };
        let mut found: Vec<(usize, &str, &toml_edit::Item)> = vec![];
        for (name, item) in document.iter() {
            let table = keys::TABLES.iter().find(|(table, _)| *table == name).zip(item.as_table());
            let Some(((_, group), table)) = table else {
                found.push((place(item, document.get_key_value(name).map(|(key, _)| key)), name, item));
                continue;
            };
            for (inner, item) in table.iter() {
                let line = place(item, table.get_key_value(inner).map(|(key, _)| key));
                if keys::find(inner).is_some_and(|key| key.group != *group) {
                    let message =
                        format!("\"{inner}\" does not stand in [{name}]; write it at the top of the file");
                    errors.push(ConfigError::new(Origin::File(path.into(), line), message));
                    continue;
                }
                found.push((line, inner, item));
            }
        }
        found.sort_by_key(|(line, ..)| *line);
        for (line, name, item) in found {
            let origin = Origin::File(path.into(), line);
            let Some(key) = keys::find(name) else {
                let remedy = match suggest::nearest(name) {
                    Some(key) => format!("did you mean \"{}\"?", key.name),
                    None if item.is_table() => "keys stand at the top of the file, in no table".into(),
                    None => "kora --help lists the keys".into(),
                };
                errors.push(ConfigError::new(origin, format!("unknown key \"{name}\"; {remedy}")));
                continue;
            };
            let written = item.span().and_then(|span| text.get(span)).unwrap_or("");
            match key.kind.parse_toml(item, written) {
                Some(value) => {
                    layer.values.insert(key.name, (value, origin));
                }
                None => {
                    layer.refused.insert(key.name);
                    let expects = key.kind.expects();
                    let shown = match item {
                        toml_edit::Item::Value(_) => key.kind.show_refused(written),
                        _ => "a table".into(),
                    };
                    errors
                        .push(ConfigError::new(origin, format!("\"{name}\" must be {expects}, not {shown}")));
                }
            }
        }
        layer
    }

    /// Reads the `KORA_*` variables and refuses those that are no keys.
    pub(crate) fn environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let mut layer = Layer::named("environment");
        let mut ours: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| name.starts_with("KORA_") && !is_service_link(name, value))
            .collect();
        ours.sort();
        for (variable, value) in ours {
            let origin = Origin::Environment(variable.clone());
            let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
                let remedy = match suggest::nearest(&variable["KORA_".len()..]) {
                    Some(key) => format!("did you mean {}?", key.variable()),
                    None => "unset it, or see the keys in kora --help".into(),
                };
                errors.push(ConfigError::new(origin, format!("unknown variable; {remedy}")));
                continue;
            };
            match value.to_str() {
                Some(text) => layer.take_text(key, text, origin, errors),
                None => {
                    layer.refused.insert(key.name);
                    let message = format!("must be {}, not bytes that are no UTF-8", key.kind.expects());
                    errors.push(ConfigError::new(origin, message));
                }
            }
        }
        layer
    }

    /// Reads the flags as the command line gave them.
    pub(crate) fn flags(flags: &[(&'static str, String)], errors: &mut Vec<ConfigError>) -> Self {
        let mut layer = Layer::named("flags");
        for (name, text) in flags {
            let key = keys::find(name).expect("flags are made from the key table");
            let flag = key.flag().expect("this key has a flag");
            layer.take_text(key, text, Origin::Flag(flag), errors);
        }
        layer
    }
}

/// Whether Kubernetes set this variable because the cluster has a service named `kora`: `KORA_SERVICE_HOST`,
/// `KORA_PORT=tcp://...`, `KORA_PORT_6379_TCP_ADDR` and their like stand in the environment of every pod next to it.
fn is_service_link(name: &str, value: &OsString) -> bool {
    let link = value.to_str().is_some_and(|value| value.starts_with("tcp://") || value.starts_with("udp://"));
    name == "KORA_SERVICE_HOST"
        || name.starts_with("KORA_SERVICE_PORT")
        || (name == "KORA_PORT" && link)
        || name.strip_prefix("KORA_PORT_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

//! `--print-config`: the effective configuration as a TOML file that says where each value comes from.

use std::fmt::Write;

use super::keys::KEYS;
use super::value::Kind;
use super::{Loaded, Origin};

impl Loaded {
    /// A file that, read again, gives this configuration. The password is not in it: its line is a comment.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut group = "";
        for key in KEYS {
            if key.group != group {
                group = key.group;
                let gap = if text.is_empty() { "" } else { "\n" };
                writeln!(text, "{gap}# {group}").expect("a string takes all text");
            }
            let (setting, origin) = match self.values.get(key.name) {
                None if matches!(key.kind, Kind::Secret) && self.config.password.is_some() => {
                    (format!("# {} = \"<set>\"", key.name), self.origin("password_file"))
                }
                None => (format!("# {} =", key.name), Origin::Default),
                Some((_, origin)) if matches!(key.kind, Kind::Secret) => {
                    (format!("# {} = \"<set>\"", key.name), origin.clone())
                }
                Some((value, origin)) => (format!("{} = {}", key.name, value.to_toml()), origin.clone()),
            };
            writeln!(text, "{setting:<44} # {origin}").expect("a string takes all text");
        }
        text
    }

    /// One line for people: what was read.
    pub fn summary(&self) -> String {
        let count = |matching: fn(&Origin) -> bool| {
            self.values.values().filter(|(_, origin)| matching(origin)).count()
        };
        let from_file = count(|origin| matches!(origin, Origin::File(..)));
        let from_environment = count(|origin| matches!(origin, Origin::Environment(_)));
        let from_flags = count(|origin| matches!(origin, Origin::Flag(_)));
        let file = self.file.as_ref().map_or("no file".into(), |file| file.display().to_string());
        format!(
            "configuration is valid: {from_file} values from {file}, {from_environment} from the environment, {from_flags} from flags, the rest defaults"
        )
    }
}

//! "Did you mean": the key that somebody probably wanted to write.

use super::keys::{Key, KEYS};

/// The key closest to an unknown name: the same name with other separators or capitals, Redis's name for it, or one
/// that is at most a third of its letters away.
pub(crate) fn nearest(unknown: &str) -> Option<&'static Key> {
    let unknown = plain(unknown);
    if let Some(key) = KEYS.iter().find(|key| key.redis.is_some_and(|name| plain(name) == unknown)) {
        return Some(key);
    }
    let distance = |key: &&Key| edit_distance(&unknown, &plain(key.name));
    let key = KEYS.iter().min_by_key(distance)?;
    (distance(&key) <= unknown.len().max(key.name.len()) / 3).then_some(key)
}

/// Small letters only: `tcp-keepalive`, `TcpKeepalive` and `tcp_keepalive` are one name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Levenshtein's distance with neighbouring letters exchanged counted once (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let exchanged: &Vec<usize> = &before_last;
                row[j] = row[j].min(exchanged[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_or_redis_name_finds_its_key() {
        for (unknown, wanted) in [
            ("woker", Some("workers")),
            ("prot", Some("port")),
            ("Port", Some("port")),
            ("max-clients", Some("max_clients")),
            ("maxclients", Some("max_clients")),
            ("requirepass", Some("password")),
            ("unixsocket", Some("unix_socket")),
            ("client-query-buffer-limit", Some("query_buffer_limit")),
            ("loglevel", Some("log_level")),
            ("passwrod_file", Some("password_file")),
            ("server", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown).map(|key| key.name), wanted, "{unknown}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("port", "prot", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(edit_distance(a, b), edits, "{a} {b}");
        }
    }
}

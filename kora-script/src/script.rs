//! Scripts of EVAL: source, SHA1, flags. Plain data that several interpreters (of several threads) compile.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bitflags::bitflags;

use crate::error::Error;

bitflags! {
    /// What a script or a function says of itself.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// It does not write: write commands are refused, and it runs where writes are.
        const NO_WRITES = 1;
        /// It may run (and write) when memory is over the limit.
        const ALLOW_OOM = 1 << 1;
        /// It may run on a replica that has lost its master.
        const ALLOW_STALE = 1 << 2;
        /// It does not run in cluster mode.
        const NO_CLUSTER = 1 << 3;
        /// It may access keys of different slots.
        const ALLOW_CROSS_SLOT_KEYS = 1 << 4;
    }
}

impl Flags {
    /// Each flag with its name, in the order in which Redis lists them.
    pub const NAMED: [(&'static str, Flags); 5] = [
        ("no-writes", Flags::NO_WRITES),
        ("allow-oom", Flags::ALLOW_OOM),
        ("allow-stale", Flags::ALLOW_STALE),
        ("no-cluster", Flags::NO_CLUSTER),
        ("allow-cross-slot-keys", Flags::ALLOW_CROSS_SLOT_KEYS),
    ];

    pub(crate) fn by_name(name: &[u8]) -> Option<Flags> {
        Flags::NAMED.iter().find(|(known, _)| known.as_bytes() == name).map(|&(_, flag)| flag)
    }
}

impl Flags {
    pub(crate) fn by_name_in_any_case(name: &[u8]) -> Option<Flags> {
        let known = |(known, _): &&(&str, Flags)| name.eq_ignore_ascii_case(known.as_bytes());
        Flags::NAMED.iter().find(known).map(|&(_, flag)| flag)
    }
}

/// The SHA1 of bytes in hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    hex(&sha1_smol::Sha1::from(bytes).digest().bytes())
}

fn hex(digest: &[u8; 20]) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 40];
    for (i, byte) in digest.iter().enumerate() {
        text[2 * i] = DIGITS[(byte >> 4) as usize];
        text[2 * i + 1] = DIGITS[(byte & 15) as usize];
    }
    text
}

/// The digest that a text of 40 hexadecimal digits, in any case, names.
pub fn digest_of_hex(text: &[u8]) -> Option<Digest> {
    let text: &[u8; 40] = text.try_into().ok()?;
    let mut digest = [0; 20];
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

/// A SHA1.
pub type Digest = [u8; 20];

/// A script of EVAL or SCRIPT LOAD, not yet known to compile ([`crate::Interpreter::check`]).
#[derive(Debug)]
pub struct Script {
    digest: Digest,
    sha: [u8; 40],
    source: Box<[u8]>,
    /// Where the code begins: at the line end of a shebang.
    code: usize,
    flags: Option<Flags>,
}

impl Script {
    /// Reads the shebang of a source, if it has one. Errors with Redis's text.
    pub fn new(source: &[u8]) -> Result<Script, Error> {
        let digest = sha1_smol::Sha1::from(source).digest().bytes();
        let (code, flags) = match source.starts_with(b"#!") {
            false => (0, None),
            true => {
                let (end, flags) = read_shebang(source)?;
                (end, Some(flags))
            }
        };
        Ok(Script { digest, sha: hex(&digest), source: source.into(), code, flags })
    }

    /// The SHA1 of the source.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The SHA1 of the source in hexadecimal, the script's name.
    pub fn sha(&self) -> &[u8; 40] {
        &self.sha
    }

    /// All of the source, with its shebang.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// What is compiled.
    pub(crate) fn code(&self) -> &[u8] {
        &self.source[self.code..]
    }

    /// The flags of its shebang. A script without a shebang has none: it may do all, and is refused only where one of its commands is.
    pub fn flags(&self) -> Option<Flags> {
        self.flags
    }
}

/// The length of `#!lua flags=a,b` and the flags.
fn read_shebang(source: &[u8]) -> Result<(usize, Flags), Error> {
    let end =
        source.iter().position(|&b| b == b'\n').ok_or_else(|| Error::of(b"ERR Invalid script shebang"))?;
    let words = split_words(&source[..end]).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| Error::of(b"ERR Invalid engine in script shebang"))?;
    if words[0] != b"#!lua" {
        return Err(Error::about("ERR Unexpected engine in script shebang: ", &words[0]));
    }
    let mut flags = Flags::empty();
    for word in &words[1..] {
        let Some(names) = word.strip_prefix(b"flags=") else {
            return Err(Error::about("ERR Unknown lua shebang option: ", word));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|&b| b == b',') {
            flags |= Flags::by_name(name)
                .ok_or_else(|| Error::about("ERR Unexpected flag in script shebang: ", name))?;
        }
    }
    Ok((end, flags))
}

/// The words of a shebang, with quotes as in inline commands; none when those are unbalanced.
pub(crate) fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        loop {
            match (quote, rest) {
                (None, []) => break,
                (Some(_), []) => return None,
                (None, [b, ..]) if b.is_ascii_whitespace() => break,
                (None, [b @ (b'"' | b'\''), tail @ ..]) => {
                    quote = Some(*b);
                    rest = tail;
                }
                (Some(b'"'), [b'\\', b'x', high, low, tail @ ..])
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
                    word.push(digit(*high) << 4 | digit(*low));
                    rest = tail;
                }
                (Some(b'"'), [b'\\', b, tail @ ..]) => {
                    word.push(match b {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => *other,
                    });
                    rest = tail;
                }
                (Some(b'\''), [b'\\', b'\'', tail @ ..]) => {
                    word.push(b'\'');
                    rest = tail;
                }
                (Some(q), [b, tail @ ..]) if *b == q => {
                    if tail.first().is_some_and(|b| !b.is_ascii_whitespace()) {
                        return None;
                    }
                    quote = None;
                    rest = tail;
                }
                (_, [b, tail @ ..]) => {
                    word.push(*b);
                    rest = tail;
                }
            }
        }
        words.push(word);
    }
}

/// Takes the first eight bytes of a digest, which is a hash already.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _: usize) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map by digest.
pub(crate) type ByDigest<T> = HashMap<Digest, T, BuildHasherDefault<DigestHasher>>;

/// Known scripts, by SHA1 and (so that EVAL need not compute it) by source.
#[derive(Default)]
pub struct Scripts {
    by_digest: ByDigest<Arc<Script>>,
    by_source: HashMap<u64, Digest>,
    bytes: usize,
}

impl Scripts {
    /// The script with this SHA1 in hexadecimal, in any case.
    pub fn get(&self, sha: &[u8]) -> Option<&Arc<Script>> {
        self.by_digest.get(&digest_of_hex(sha)?)
    }

    /// The script with this source.
    pub fn of_source(&self, source: &[u8]) -> Option<&Arc<Script>> {
        let digest = self.by_source.get(&rapidhash::v3::rapidhash_v3(source))?;
        self.by_digest.get(digest).filter(|script| script.source() == source)
    }

    /// Adds a script.
    pub fn insert(&mut self, script: Arc<Script>) {
        self.by_source.insert(rapidhash::v3::rapidhash_v3(script.source()), *script.digest());
        let bytes = script.source().len();
        if self.by_digest.insert(*script.digest(), script).is_none() {
            self.bytes += bytes;
        }
    }

    /// Takes a script out.
    pub fn remove(&mut self, digest: &Digest) -> Option<Arc<Script>> {
        let script = self.by_digest.remove(digest)?;
        self.by_source.remove(&rapidhash::v3::rapidhash_v3(script.source()));
        self.bytes -= script.source().len();
        Some(script)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Scripts::default();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Bytes of their sources.
    pub fn source_bytes(&self) -> usize {
        self.bytes
    }
}

//! Reads an RDB file part by part.

use super::*;
use kora_engine::keyspace::Usage;
use kora_engine::rdb::{length, number, string, Length, Loader, Source, VERSION_MAX};
use std::io::Read;

/// A part of a file.
#[derive(Debug)]
pub enum Part<'r> {
    /// A fact about the server that wrote the file.
    Aux {
        /// Which.
        name: &'r [u8],
        /// What.
        value: &'r [u8],
    },
    /// How many keys the present database has, if the writer was right.
    Sizes {
        /// All of them.
        keys: u64,
        /// Those that expire.
        expiring: u64,
    },
    /// The code of a library of functions.
    Library(&'r [u8]),
    /// A key with its value.
    Key(Key<'r>),
    /// Something that only a module of Redis can read, and that was passed over.
    Module {
        /// The name of the module's type.
        name: String,
        /// The database and the key that holds it; none when it belongs to the module as a whole.
        key: Option<(u16, &'r [u8])>,
    },
}

/// A key as it is in a file.
#[derive(Debug)]
pub struct Key<'r> {
    /// Index of its database.
    pub db: u16,
    /// Its name.
    pub name: &'r [u8],
    /// Its value. An empty collection is no key: redis-server passes over it.
    pub value: Loaded<'r>,
    /// When it expires, in Unix milliseconds.
    pub expire_at: Option<u64>,
    /// How it was used.
    pub usage: Option<Usage>,
}

/// Reads a file.
pub struct RdbReader<R> {
    source: Window<R>,
    version: u16,
    databases: u16,
    db: u16,
    /// The name of a key or fact.
    name: Vec<u8>,
    /// Strings that are not in the window as they are.
    text: Vec<u8>,
    ended: bool,
}

impl<R: Read> RdbReader<R> {
    /// Begins with a file for a server of so many databases.
    ///
    /// # Errors
    /// It is not an RDB file, or of a version that is not known.
    pub fn new(input: R, databases: u16) -> Result<RdbReader<R>, Error> {
        let mut source = Window::new(input);
        let header: [u8; 9] = source.array()?;
        let digits = header.strip_prefix(MAGIC).and_then(|digits| std::str::from_utf8(digits).ok());
        let version = digits.and_then(|digits| digits.parse().ok());
        let version = match version {
            Some(version @ 1..=VERSION_MAX) => version,
            Some(_) => {
                return source.refuse(Problem::Malformed("header: the version of the file is not known"))
            }
            None => return source.refuse(Problem::Malformed("header: this is not an RDB file")),
        };
        Ok(RdbReader { source, version, databases, db: 0, name: Vec::new(), text: Vec::new(), ended: false })
    }

    /// The version of the file.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Bytes that were read so far.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// The next part; none at the end, when the checksum was right. `loader` builds the values.
    ///
    /// # Errors
    /// The file is damaged or cannot be read. There is nothing behind an error.
    pub fn next<'r>(&'r mut self, loader: &'r mut Loader) -> Result<Option<Part<'r>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let source = &mut self.source;
        let (mut expire_at, mut usage) = (None, None);
        loop {
            match source.byte()? {
                AUX => {
                    copy(string(source, &mut self.text)?, &mut self.name);
                    let value = string(source, &mut self.text)?;
                    return Ok(Some(Part::Aux { name: &self.name, value }));
                }
                SELECTDB => {
                    let db = number(source)?;
                    self.db = match u16::try_from(db) {
                        Ok(db) if db < self.databases => db,
                        _ => return source.refuse(Problem::Database(db)),
                    };
                }
                RESIZEDB => {
                    return Ok(Some(Part::Sizes { keys: number(source)?, expiring: number(source)? }));
                }
                SLOT_INFO => {
                    for _ in 0..3 {
                        number(source)?;
                    }
                }
                EXPIRETIME_MS => expire_at = Some(u64::from_le_bytes(source.array()?)),
                EXPIRETIME => {
                    expire_at = Some((i64::from(i32::from_le_bytes(source.array()?)) * 1000) as u64)
                }
                IDLE => usage = Some(Usage::IdleSeconds(number(source)?)),
                FREQ => usage = Some(Usage::Frequency(source.byte()?)),
                FUNCTION2 => return Ok(Some(Part::Library(string(source, &mut self.text)?))),
                FUNCTION_PRE_GA => {
                    return source.refuse(Problem::Malformed("library: a candidate of Redis 7 wrote it"));
                }
                MODULE_AUX => {
                    let name = module_name(number(source)?);
                    skip_module(source)?;
                    return Ok(Some(Part::Module { name, key: None }));
                }
                EOF => {
                    self.ended = true;
                    check_end(source, self.version)?;
                    return Ok(None);
                }
                kind => {
                    copy(string(source, &mut self.text)?, &mut self.name);
                    let (db, name) = (self.db, &self.name[..]);
                    if kind == MODULE_2 {
                        let module = module_name(number(source)?);
                        skip_module(source)?;
                        return Ok(Some(Part::Module { name: module, key: Some((db, name)) }));
                    }
                    let value = loader.load(kind, source)?;
                    // Times before 1970 are over.
                    let expire_at = expire_at.map(|at| if at > i64::MAX as u64 { 0 } else { at });
                    return Ok(Some(Part::Key(Key { db, name, value, expire_at, usage })));
                }
            }
        }
    }
}

/// Reads the checksum. One of 0 says that the writer made none.
fn check_end<R: Read>(source: &mut Window<R>, version: u16) -> Result<(), Error> {
    if version >= VERSION_CHECKSUM {
        let computed = source.checksum();
        let stored = u64::from_le_bytes(source.array()?);
        if stored != 0 && stored != computed {
            return source.refuse(Problem::Malformed("file: its checksum is wrong"));
        }
    }
    Ok(())
}

fn copy(from: &[u8], to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(from);
}

/// The type number of a module's value whose parts can be told without the module.
const MODULE_2: u8 = 7;

/// The name of a module's type: nine characters of six bits, then ten bits of a version.
fn module_name(id: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).rev().map(|place| ALPHABET[(id >> (10 + 6 * place) & 63) as usize] as char).collect()
}

/// Passes over what a module has written.
fn skip_module<S: Source>(source: &mut S) -> Result<(), Error> {
    loop {
        match number(source)? {
            0 => return Ok(()),
            1 | 2 => drop(number(source)?),
            3 => drop(source.bytes(4)?),
            4 => drop(source.bytes(8)?),
            5 => skip_string(source)?,
            _ => return source.refuse(Problem::Malformed("value of a module")),
        }
    }
}

/// Passes over a string, however long.
fn skip_string<S: Source>(source: &mut S) -> Result<(), Error> {
    const PART: u64 = 64 * 1024;
    let mut left = match length(source)? {
        Length::Number(len) => len,
        Length::Special(form @ 0..=2) => 1 << form,
        Length::Special(3) => {
            let stored = number(source)?;
            number(source)?;
            stored
        }
        Length::Special(_) => return source.refuse(Problem::Malformed("string")),
    };
    while left > 0 {
        let part = left.min(PART);
        source.bytes(part as usize)?;
        left -= part;
    }
    Ok(())
}

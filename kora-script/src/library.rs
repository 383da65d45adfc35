//! Libraries of functions: what FUNCTION LOAD, LIST, DELETE, DUMP, RESTORE and FCALL need to know, as plain data that several threads share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::error::Error;
use crate::payload;
use crate::script::{split_words, Flags};

/// The name of the only engine.
pub const ENGINE: &str = "LUA";

const BAD_NAME: &[u8] =
    b"ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Whether it can be the name of a library or a function.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The source of a library, whose first line is understood.
#[derive(Debug, Clone)]
pub struct LibrarySource {
    text: Arc<[u8]>,
    /// Where the code begins: at the first line's end.
    code: usize,
    name: Arc<[u8]>,
}

impl LibrarySource {
    /// Reads `#!lua name=...`. Errors with Redis's text.
    pub fn new(text: &[u8]) -> Result<LibrarySource, Error> {
        if !text.starts_with(b"#!") {
            return Err(Error::of(b"ERR Missing library metadata"));
        }
        let invalid = || Error::of(b"ERR Invalid library metadata");
        let code = text.iter().position(|&b| b == b'\n').ok_or_else(invalid)?;
        let words = split_words(&text[..code]).filter(|words| !words.is_empty()).ok_or_else(invalid)?;
        let mut name: Option<&[u8]> = None;
        for word in &words[1..] {
            match word.split_at_checked(5) {
                Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                    if name.is_some() {
                        return Err(Error::of(
                            b"ERR Invalid metadata value, name argument was given multiple times",
                        ));
                    }
                    name = Some(value);
                }
                _ => return Err(Error::about("ERR Invalid metadata value given: ", word)),
            }
        }
        let name = name.ok_or_else(|| Error::of(b"ERR Library name was not given"))?;
        if !is_name(name) {
            return Err(Error::of(BAD_NAME));
        }
        let engine = &words[0][2..];
        if !engine.eq_ignore_ascii_case(ENGINE.as_bytes()) {
            return Err(Error::of(&[b"ERR Engine '", engine, b"' not found"].concat()));
        }
        Ok(LibrarySource { text: text.into(), code, name: name.into() })
    }

    /// The payload of FUNCTION DUMP for these sources; empty when there are none.
    pub fn dump(sources: &[LibrarySource]) -> Vec<u8> {
        match sources {
            [] => Vec::new(),
            sources => payload::write(sources.iter().map(LibrarySource::text)),
        }
    }

    /// The library's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// All of the source.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What is compiled.
    pub(crate) fn code(&self) -> &[u8] {
        &self.text[self.code..]
    }
}

/// A function of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name under which FCALL finds it.
    pub name: Box<[u8]>,
    /// What the library says about it.
    pub description: Option<Box<[u8]>>,
    /// What it says of itself.
    pub flags: Flags,
}

/// A library that has been loaded once, and so can be loaded by every interpreter.
#[derive(Debug)]
pub struct Library {
    id: u64,
    source: LibrarySource,
    functions: Vec<Function>,
}

impl Library {
    pub(crate) fn new(source: LibrarySource, functions: Vec<Function>) -> Library {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Library { id: NEXT.fetch_add(1, Ordering::Relaxed), source, functions }
    }

    /// A number that no other loaded library of this process has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The library's name.
    pub fn name(&self) -> &[u8] {
        self.source.name()
    }

    /// Its source.
    pub fn source(&self) -> &LibrarySource {
        &self.source
    }

    /// Its functions in the order of registration.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }
}

/// What FUNCTION RESTORE does with the libraries that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePolicy {
    /// Removes all of them first.
    Flush,
    /// Keeps them, and fails when a name is taken.
    Append,
    /// Replaces those of the same name.
    Replace,
}

impl RestorePolicy {
    /// Reads the argument of FUNCTION RESTORE.
    pub fn read(text: &[u8]) -> Result<RestorePolicy, Error> {
        let known: [(&[u8], RestorePolicy); 3] = [
            (b"flush", RestorePolicy::Flush),
            (b"append", RestorePolicy::Append),
            (b"replace", RestorePolicy::Replace),
        ];
        known.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|&(_, policy)| policy).ok_or_else(
            || Error::of(b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."),
        )
    }
}

/// The libraries of a server, and their functions by name. Cheap to clone: a new set is made and given to all executors.
#[derive(Debug, Clone, Default)]
pub struct Libraries {
    by_name: BTreeMap<Box<[u8]>, Arc<Library>>,
    by_function: HashMap<Box<[u8]>, (Arc<Library>, usize)>,
}

impl Libraries {
    /// The library and the description of a function.
    pub fn function(&self, name: &[u8]) -> Option<(&Arc<Library>, &Function)> {
        let (library, index) = self.by_function.get(name)?;
        Some((library, &library.functions[*index]))
    }

    /// A library.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// How many libraries there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many functions there are.
    pub fn functions_len(&self) -> usize {
        self.by_function.len()
    }

    pub(crate) fn has_id(&self, id: u64) -> bool {
        self.by_name.values().any(|library| library.id == id)
    }

    /// Whether a library of this name may be loaded: what FUNCTION LOAD asks before it runs the code.
    pub fn check_free(&self, source: &LibrarySource, replace: bool) -> Result<(), Error> {
        if !replace && self.by_name.contains_key(source.name()) {
            return Err(Error::of(&[b"ERR Library '", source.name(), b"' already exists"].concat()));
        }
        Ok(())
    }

    /// Adds a library; nothing changes when that fails. The library it replaces is returned.
    pub fn insert(&mut self, library: Arc<Library>, replace: bool) -> Result<Option<Arc<Library>>, Error> {
        self.check_free(&library.source, replace)?;
        for function in &library.functions {
            match self.by_function.get(&function.name) {
                Some((other, _)) if other.name() != library.name() => {
                    return Err(function_exists(&function.name));
                }
                _ => {}
            }
        }
        let replaced = self.remove(library.name());
        self.link(library);
        Ok(replaced)
    }

    fn link(&mut self, library: Arc<Library>) {
        for (index, function) in library.functions.iter().enumerate() {
            self.by_function.insert(function.name.clone(), (Arc::clone(&library), index));
        }
        self.by_name.insert(library.name().into(), library);
    }

    /// Takes a library out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Library>> {
        let library = self.by_name.remove(name)?;
        for function in &library.functions {
            self.by_function.remove(&function.name);
        }
        Some(library)
    }

    /// Adds the libraries of a payload that have been loaded ([`Libraries::sources_of`]); nothing changes when that fails.
    pub fn restore(&mut self, loaded: Vec<Arc<Library>>, policy: RestorePolicy) -> Result<(), Error> {
        let mut result = if policy == RestorePolicy::Flush { Libraries::default() } else { self.clone() };
        // Names first: all that are replaced go before functions are compared.
        for library in &loaded {
            if result.by_name.contains_key(library.name()) {
                if policy != RestorePolicy::Replace {
                    return Err(Error::of(&[b"ERR Library ", library.name(), b" already exists"].concat()));
                }
                result.remove(library.name());
            }
        }
        for library in loaded {
            if let Some(function) =
                library.functions.iter().find(|f| result.by_function.contains_key(&f.name))
            {
                return Err(function_exists(&function.name));
            }
            result.link(library);
        }
        *self = result;
        Ok(())
    }

    /// The payload of FUNCTION DUMP.
    pub fn dump(&self) -> Vec<u8> {
        payload::write(self.iter().map(|library| library.source.text()))
    }

    /// The sources in a payload of FUNCTION DUMP, each to be loaded before [`Libraries::restore`]. A name that comes twice is an error.
    pub fn sources_of(payload: &[u8]) -> Result<Vec<LibrarySource>, Error> {
        let mut sources: Vec<LibrarySource> = Vec::new();
        for text in payload::read(payload)? {
            let source = LibrarySource::new(&text)?;
            if sources.iter().any(|other| other.name() == source.name()) {
                return Err(Error::of(&[b"ERR Library '", source.name(), b"' already exists"].concat()));
            }
            sources.push(source);
        }
        Ok(sources)
    }
}

fn function_exists(name: &[u8]) -> Error {
    Error::of(&[b"ERR Function ", name, b" already exists"].concat())
}

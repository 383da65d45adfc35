//! Writes an RDB file part by part.

use super::*;
use kora_engine::keyspace::Usage;
use kora_engine::rdb::{put_length, put_string, Crc64, NeedsVersion, Writer, VERSION_MIN};
use kora_engine::table::ValueRef;
use kora_engine::value::item::Item;
use std::io::{self, Write};

/// Bytes that are given to the file at once.
const CHUNK: usize = 256 * 1024;

/// Elements of a value that are written before it is looked whether there is enough for the file.
const ELEMENTS: usize = 256;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot be written: {0}")]
    Io(#[from] io::Error),
    /// A value has something that the version of the file cannot say. Write a newer one.
    #[error(transparent)]
    Version(#[from] NeedsVersion),
}

/// Writes a file. It is not whole before [`RdbWriter::finish`].
pub struct RdbWriter<W> {
    output: W,
    version: u16,
    /// What was not given to the file yet.
    buffer: Vec<u8>,
    crc: Crc64,
    bytes: u64,
    writer: Writer,
    /// The database of the latest key.
    db: Option<u16>,
}

impl<W: Write> RdbWriter<W> {
    /// Begins a file of this version.
    ///
    /// # Panics
    /// When the version is not from [`VERSION_OLD`] to [`VERSION`].
    pub fn new(output: W, version: u16) -> RdbWriter<W> {
        assert!((VERSION_MIN..=VERSION).contains(&version));
        let mut buffer = Vec::with_capacity(CHUNK + CHUNK / 4);
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(format!("{version:04}").as_bytes());
        let writer = Writer::new(version);
        RdbWriter { output, version, buffer, crc: Crc64::default(), bytes: 0, writer, db: None }
    }

    /// The version of the file.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Adds a fact about the server that writes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn aux(&mut self, name: &str, value: &[u8]) -> Result<(), WriteError> {
        self.buffer.push(AUX);
        put_string(Item::Bytes(name.as_bytes()), &mut self.buffer);
        put_string(Item::of(value), &mut self.buffer);
        self.flush_if_full()
    }

    /// Adds the code of a library of functions.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn library(&mut self, code: &[u8]) -> Result<(), WriteError> {
        self.buffer.push(FUNCTION2);
        put_string(Item::Bytes(code), &mut self.buffer);
        self.flush_if_full()
    }

    /// Says how many keys of a database come.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sizes(&mut self, db: u16, keys: u64, expiring: u64) -> Result<(), WriteError> {
        self.select(db);
        self.buffer.push(RESIZEDB);
        put_length(keys, &mut self.buffer);
        put_length(expiring, &mut self.buffer);
        self.flush_if_full()
    }

    fn select(&mut self, db: u16) {
        if self.db != Some(db) {
            self.buffer.push(SELECTDB);
            put_length(db.into(), &mut self.buffer);
            self.db = Some(db);
        }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// The file cannot be written, or its version cannot say the value; then nothing of the key is in it.
    pub fn key(
        &mut self,
        db: u16,
        name: &[u8],
        value: ValueRef<'_>,
        expire_at: Option<u64>,
        usage: Option<Usage>,
    ) -> Result<(), WriteError> {
        let encoding = self.writer.begin(value)?;
        self.select(db);
        let buffer = &mut self.buffer;
        if let Some(at) = expire_at {
            buffer.push(EXPIRETIME_MS);
            buffer.extend_from_slice(&at.to_le_bytes());
        }
        match usage {
            Some(Usage::IdleSeconds(seconds)) => {
                buffer.push(IDLE);
                put_length(seconds, buffer);
            }
            Some(Usage::Frequency(frequency)) => buffer.extend([FREQ, frequency]),
            Some(Usage::New) | None => {}
        }
        buffer.push(encoding as u8);
        put_string(Item::of(name), buffer);
        while !self.writer.advance(value, &mut self.buffer, ELEMENTS) {
            self.flush_if_full()?;
        }
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<(), WriteError> {
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.crc.update(&self.buffer);
        self.output.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the file, and returns what it was written to and how many bytes it has. Making it durable is the caller's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(W, u64), WriteError> {
        self.buffer.push(EOF);
        self.flush()?;
        self.buffer.extend_from_slice(&self.crc.value().to_le_bytes());
        self.flush()?;
        self.output.flush()?;
        Ok((self.output, self.bytes))
    }
}

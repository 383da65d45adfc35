//! From bytes to a value: element by element, straight into the form that the value has here.
//!
//! Which form that is depends on the limits of this server and not on the encoding in the bytes: as redis-server does, a packed
//! encoding is kept packed unless it has more elements than the limits allow, and elements that come one by one are packed if
//! they could have come by commands.
//!
//! A loader keeps its memory from one value to the next: loading a string allocates nothing.

mod hash;
mod list;
mod set;
mod stream;
mod zset;

use super::packed::{self, Form, Packed};
use super::string::{checked, length, number, special, string, Length};
use super::{Encoding, Error, Problem, Source, BYTES_PER_ELEMENT};
use crate::limits::EncodingLimits;
use crate::value::{Collection, Object};
use hash::HashLoader;
use list::ListLoader;
use set::SetLoader;
use stream::StreamLoader;
use zset::ZsetLoader;

/// Memory that is kept between two values; larger buffers are given back.
const ROOM_MAX: usize = 1 << 20;

/// A value that was read.
#[derive(Debug)]
pub enum Loaded<'l> {
    /// A string.
    String(&'l [u8]),
    /// A long string, which can be kept without a copy.
    LongString(Vec<u8>),
    /// A collection.
    Object(Object),
    /// A collection without elements, which no key can hold.
    Empty,
}

/// Reads values, one after the other.
pub struct Loader {
    context: Context,
    room: Room,
    state: State,
}

/// What a collection needs to know to choose its form.
#[derive(Debug)]
struct Context {
    limits: EncodingLimits,
    /// Seeds the hashes of members.
    seed: u64,
}

/// Buffers that are used again and again.
#[derive(Debug, Default)]
struct Room {
    /// A string that is not in the source as it is, or the one that was read.
    text: Vec<u8>,
    /// The first of two strings that are needed together.
    first: Vec<u8>,
    /// A packed collection.
    packed: Vec<u8>,
}

enum State {
    /// Nothing is being read.
    Idle,
    String(StringLoader),
    List(ListLoader),
    Set(SetLoader),
    Zset(ZsetLoader),
    Hash(HashLoader),
    Stream(StreamLoader),
    /// The string is in the room.
    Text,
    Object(Object),
}

impl Loader {
    /// A loader of values for a shard with these limits and this seed
    /// ([`Keyspace::collection_seed`](crate::keyspace::Keyspace::collection_seed)).
    pub fn new(limits: EncodingLimits, seed: u64) -> Loader {
        Loader { context: Context { limits, seed }, room: Room::default(), state: State::Idle }
    }

    /// Begins with a value, of which the type number has been read.
    ///
    /// # Errors
    /// There is no such type.
    pub fn begin(&mut self, number: u8) -> Result<(), Problem> {
        const MODULES: [u8; 2] = [6, 7];
        let encoding = match Encoding::of(number) {
            Some(encoding) => encoding,
            None if MODULES.contains(&number) => return Err(Problem::Module),
            None => return Err(Problem::UnknownType(number)),
        };
        let Room { text, first, packed } = &mut self.room;
        for buffer in [text, first, packed] {
            if buffer.capacity() > ROOM_MAX {
                *buffer = Vec::new();
            }
        }
        use Encoding as E;
        self.state = match encoding {
            E::String => State::String(StringLoader::default()),
            E::List | E::ListZiplist | E::ListQuicklist | E::ListQuicklist2 => {
                State::List(ListLoader::new(encoding, &self.context))
            }
            E::Set | E::SetIntset | E::SetListpack => State::Set(SetLoader::new(encoding, &self.context)),
            E::Zset | E::Zset2 | E::ZsetZiplist | E::ZsetListpack => {
                State::Zset(ZsetLoader::new(encoding, &self.context))
            }
            E::Hash
            | E::HashZipmap
            | E::HashZiplist
            | E::HashListpack
            | E::HashMetadata
            | E::HashMetadataPreGa
            | E::HashListpackEx
            | E::HashListpackExPreGa => State::Hash(HashLoader::new(encoding, &self.context)),
            E::Stream | E::Stream2 | E::Stream3 => State::Stream(StreamLoader::new(encoding)),
        };
        Ok(())
    }

    /// Reads about so many elements more. True when the value is complete: [`Loader::take`] it.
    ///
    /// # Errors
    /// The bytes are not a value. What there is of it is freed by the next [`Loader::begin`].
    ///
    /// # Panics
    /// When no value was begun.
    pub fn advance<S: Source>(&mut self, source: &mut S, elements: usize) -> Result<bool, Error> {
        let Loader { context, room, state } = self;
        let complete = match state {
            State::String(string) => string.advance(source, room, elements)?,
            State::List(list) => list.advance(source, room, elements)?,
            State::Set(set) => set.advance(source, room, elements)?,
            State::Zset(zset) => zset.advance(source, room, elements)?,
            State::Hash(hash) => hash.advance(source, room, context, elements)?,
            State::Stream(stream) => stream.advance(source, room, elements)?,
            State::Text | State::Object(_) => true,
            State::Idle => panic!("no value was begun"),
        };
        if complete {
            self.state = match std::mem::replace(&mut self.state, State::Idle) {
                State::String(_) => State::Text,
                State::List(list) => State::Object(list.finish().into_object()),
                State::Set(set) => State::Object(set.finish().into_object()),
                State::Zset(zset) => State::Object(zset.finish().into_object()),
                State::Hash(hash) => State::Object(hash.finish().into_object()),
                State::Stream(stream) => State::Object(stream.finish().into_object()),
                done => done,
            };
        }
        Ok(complete)
    }

    /// Takes the value that is complete.
    ///
    /// # Panics
    /// When there is none.
    pub fn take(&mut self) -> Loaded<'_> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Text if self.room.text.len() > ROOM_MAX => {
                let mut text = std::mem::take(&mut self.room.text);
                text.shrink_to_fit();
                Loaded::LongString(text)
            }
            State::Text => Loaded::String(&self.room.text),
            State::Object(object) if object.elements() == 0 && !object.may_be_empty() => Loaded::Empty,
            State::Object(object) => Loaded::Object(object),
            _ => panic!("no value is complete"),
        }
    }

    /// Reads a whole value, of which the type number has been read.
    ///
    /// # Errors
    /// The bytes are not a value.
    pub fn load<S: Source>(&mut self, number: u8, source: &mut S) -> Result<Loaded<'_>, Error> {
        self.begin(number).map_err(|problem| source.error(problem))?;
        while !self.advance(source, usize::MAX)? {}
        Ok(self.take())
    }

    /// Gives up the value that is being read. What there is of it is freed later if it is much.
    pub fn abandon(&mut self) {
        let object = match std::mem::replace(&mut self.state, State::Idle) {
            State::List(list) => list.finish().into_object(),
            State::Set(set) => set.finish().into_object(),
            State::Zset(zset) => zset.finish().into_object(),
            State::Hash(hash) => hash.finish().into_object(),
            State::Stream(stream) => stream.finish().into_object(),
            State::Object(object) => object,
            State::Idle | State::String(_) | State::Text => return,
        };
        object.discard();
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A string that is being read, into the room.
#[derive(Default)]
struct StringLoader {
    /// Bytes that are still to come; none before their number was read.
    left: Option<usize>,
}

impl StringLoader {
    fn advance<S: Source>(
        &mut self,
        source: &mut S,
        room: &mut Room,
        elements: usize,
    ) -> Result<bool, Error> {
        let Room { text, first, .. } = room;
        let left = match &mut self.left {
            Some(left) => left,
            left @ None => {
                text.clear();
                match length(source)? {
                    Length::Number(len) => left.insert(checked(source, len)?),
                    Length::Special(form) => {
                        // Compressed ones are read at once.
                        text.extend_from_slice(special(source, form, first)?);
                        return Ok(true);
                    }
                }
            }
        };
        loop {
            let part = (*left).min(elements.saturating_mul(BYTES_PER_ELEMENT)).min(ROOM_MAX);
            text.extend_from_slice(source.bytes(part)?);
            *left -= part;
            if *left == 0 || elements < ROOM_MAX {
                return Ok(*left == 0);
            }
        }
    }
}

/// Where the elements of a value come from.
#[derive(Debug)]
enum Rows {
    /// How many come has not been read yet.
    Unread,
    /// So many more come, one by one.
    Plain(u64),
    /// All are in one string. How many elements it said it has.
    Packed(Packed),
}

impl Rows {
    /// Reads how many elements come, or the packed ones.
    fn open<S: Source>(source: &mut S, room: &mut Room, form: Option<Form>) -> Result<Rows, Error> {
        match form {
            None => Ok(Rows::Plain(number(source)?)),
            Some(form) => Ok(Rows::Packed(open_packed(source, room, form)?)),
        }
    }
}

/// Reads a packed collection.
fn open_packed<S: Source>(source: &mut S, room: &mut Room, form: Form) -> Result<Packed, Error> {
    let buffer = std::mem::take(&mut room.packed);
    let bytes = string(source, &mut room.text)?;
    let packed = Packed::new(form, bytes, buffer);
    packed.map_err(|_| source.error(malformed(form)))
}

/// The problem with a packed collection of this form.
fn malformed(form: Form) -> Problem {
    Problem::Malformed(match form {
        Form::Listpack => "listpack",
        Form::Ziplist => "ziplist",
        Form::Zipmap => "zipmap",
        Form::Intset => "set of integers",
    })
}

/// The result of a step in a packed collection, with the place.
trait At<T> {
    fn at<S: Source>(self, source: &S) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, packed::Malformed> {
    #[inline]
    fn at<S: Source>(self, source: &S) -> Result<T, Error> {
        self.map_err(|_| source.error(Problem::Malformed("packed collection")))
    }
}

//! DUMP and RESTORE: a value as bytes, and back. MIGRATE, which is the network layer's, has its row here.
//!
//! What takes long goes on in slices. A dump observes its key and begins again when that changes, as COPY does; a large string
//! is kept by reference instead. A restore builds the value beside the keyspace and puts it in its place at the end.

use super::watched::{Touched, RESTARTS_MAX};
use crate::args;
use crate::change::UnixMs;
use crate::command::{
    Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Run, ServerCommand, Spread, ROW,
};
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{NewExpiry, Usage, View};
use crate::limits::{BYTES_AT_ONCE, BYTES_PER_SEGMENT};
use crate::rdb::{payload, Crc64, Dumper, Loaded, Loader, Slice, Source};
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::{NewValue, ValueRef};
use crate::value::item::Item;
use crate::value::Object;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;

/// Elements that are dumped or restored at once: some 200 us of work.
const ELEMENTS_AT_ONCE: usize = 1024;

/// Elements that are dumped or restored in the time of a visit to one segment.
const ELEMENTS_PER_SEGMENT: usize = 64;

/// What MIGRATE does to keys.
const MOVED: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

const WRITES: Flags = Flags::WRITE.union(Flags::DENYOOM);

const KEY: CommandSpec =
    CommandSpec { categories: Categories::KEYSPACE, group: Group::Generic, since: "2.6.0", ..ROW };

const RESTORE: CommandSpec = CommandSpec {
    name: "restore",
    arity: -4,
    flags: WRITES,
    categories: Categories::KEYSPACE.union(Categories::DANGEROUS),
    keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))],
    complexity: "O(N) for values of N elements, O(N*log(N)) for sorted sets",
    summary: "Gives a key the value that DUMP answered of another.",
    syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    run: Run::Keys(restore, Spread::OneKey),
    ..KEY
};

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
        complexity: "O(N) for values of N elements",
        summary: "Answers the value of a key as bytes that RESTORE understands.",
        syntax: "key",
        tips: &["nondeterministic_output"],
        run: Run::Keys(dump, Spread::OneKey),
        ..KEY
    },
    RESTORE,
    CommandSpec {
        name: "migrate",
        arity: -6,
        flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
        categories: Categories::KEYSPACE.union(Categories::DANGEROUS),
        keys: &[KeySpec::one(3, MOVED), KeySpec::rest_after("KEYS", -2, MOVED.union(KeyFlags::INCOMPLETE))],
        complexity: "As DUMP and DEL here, RESTORE there and the way between",
        summary: "Moves keys to another server.",
        syntax:
            "host port key destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] \
                 [KEYS key [key ...]]",
        tips: &["nondeterministic_output"],
        run: Run::Server(ServerCommand::Migrate),
        ..KEY
    },
    CommandSpec {
        name: "restore-asking",
        flags: WRITES.union(Flags::ASKING),
        since: "3.0.0",
        summary: "Does what RESTORE does, also on a node to which the key's slot is only just moving.",
        ..RESTORE
    },
];

const BAD_DATA: Error = Error::new("ERR Bad data format");
const BAD_PAYLOAD: Error = Error::new("ERR DUMP payload version or checksum are wrong");
const BUSY_KEY: Error = Error::new("BUSYKEY Target key name already exists.");

// ---- DUMP --------------------------------------------------------------------------------------------------

fn dump(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let view = exec.view;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(entry) = keys.get(view, &key) else {
        reply.null();
        return DONE;
    };
    let value = entry.value();
    let subject = match value {
        ValueRef::Shared(bytes) if bytes.len() > BYTES_AT_ONCE => Subject::String(bytes.clone()),
        ValueRef::Object(object) if object.with(Object::blocks) > ELEMENTS_AT_ONCE => {
            Subject::Key { view, watch: Touched::observe(&mut keys.changes, view.db, exec.argv[1]) }
        }
        _ => {
            let mut dumped = Dumper::begin(value);
            dumped.advance(value, usize::MAX);
            reply.bulk(&dumped.close());
            return DONE;
        }
    };
    Ok(Flow::Later(Box::new(Dumping { subject, dumped: None, beginnings: 0 })))
}

/// What is dumped.
enum Subject {
    /// This string, whatever becomes of its key.
    String(Bytes),
    /// A key's collection.
    Key { view: View, watch: Rc<RefCell<Touched>> },
}

/// A dump under way.
struct Dumping {
    subject: Subject,
    dumped: Option<Dumper>,
    beginnings: u32,
}

impl Continuation for Dumping {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        let Dumping { subject, dumped, beginnings } = self;
        let elements = budget.max(1).saturating_mul(ELEMENTS_PER_SEGMENT);
        let complete = match subject {
            Subject::String(bytes) => {
                let value = ValueRef::Shared(bytes);
                dumped.get_or_insert_with(|| Dumper::begin(value)).advance(value, elements)
            }
            Subject::Key { view, watch } => {
                view.now = now;
                let name = watch.borrow().key.clone();
                shard.keys.expire_now(*view, &[&name]);
                let key = shard.keys.key(&name);
                let Some(entry) = shard.keys.peek(*view, &key) else {
                    reply.null();
                    return true;
                };
                let value = entry.value();
                if watch.borrow_mut().take() || dumped.is_none() {
                    *beginnings += 1;
                    *dumped = Some(Dumper::begin(value));
                }
                let elements = if *beginnings < RESTARTS_MAX { elements } else { usize::MAX };
                dumped.as_mut().expect("begun above").advance(value, elements)
            }
        };
        if !complete {
            return false;
        }
        let payload = dumped.take().expect("it is complete").close();
        reply.bulk_shared(&payload.into());
        true
    }
}

// ---- RESTORE -----------------------------------------------------------------------------------------------

/// What RESTORE is asked to do besides.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    replace: bool,
    absolute: bool,
    usage: Option<Usage>,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Options, Error> {
        const IDLE: Error = Error::new("ERR Invalid IDLETIME value, must be >= 0");
        const FREQUENCY: Error = Error::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
        let mut options = Options::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            // The two exclude each other; a word after which nothing comes is an unknown one.
            let is_idle = matches!(options.usage, Some(Usage::IdleSeconds(_)));
            let is_frequency = matches!(options.usage, Some(Usage::Frequency(_)));
            if args::is(word, "replace") {
                options.replace = true;
            } else if args::is(word, "absttl") {
                options.absolute = true;
            } else if args::is(word, "idletime") && !is_frequency {
                let seconds = args::integer(rest.next().ok_or(Error::SYNTAX)?)?;
                options.usage = Some(Usage::IdleSeconds(u64::try_from(seconds).map_err(|_| IDLE)?));
            } else if args::is(word, "freq") && !is_idle {
                let frequency = args::integer(rest.next().ok_or(Error::SYNTAX)?)?;
                options.usage = Some(Usage::Frequency(u8::try_from(frequency).map_err(|_| FREQUENCY)?));
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }
}

/// What RESTORE is asked for.
struct Request {
    key: Vec<u8>,
    view: View,
    ttl: u64,
    options: Options,
}

fn restore(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const TTL: Error = Error::new("ERR Invalid TTL value, must be >= 0");
    let options = Options::parse(&exec.argv[4..])?;
    let keys = &mut exec.shard.keys;
    if !options.replace && keys.exists(exec.view, &keys.key(exec.argv[1])) {
        return Err(BUSY_KEY);
    }
    let ttl = u64::try_from(args::integer(exec.argv[2])?).map_err(|_| TTL)?;
    let request = Request { key: exec.argv[1].to_vec(), view: exec.view, ttl, options };
    let mut loader = Loader::new(exec.shard.config.limits, keys.collection_seed());
    let bytes = exec.argv[3];
    if bytes.len() > BYTES_AT_ONCE {
        let payload = match exec.frame {
            Some(frame) => frame.slice_ref(bytes),
            None => Bytes::copy_from_slice(bytes),
        };
        let crc = Some((Crc64::default(), 0));
        return Ok(Flow::Later(Box::new(Restoring { request, payload, crc, at: 0, loader })));
    }
    let value = payload::open(bytes).map_err(|_| BAD_PAYLOAD)?;
    let (&number, _) = value.split_first().ok_or(BAD_DATA)?;
    let mut source = Slice::at(value, 1);
    loader.begin(number).map_err(|_| BAD_DATA)?;
    if !loader.advance(&mut source, ELEMENTS_AT_ONCE).map_err(|_| BAD_DATA)? {
        let (payload, at) = (Bytes::copy_from_slice(bytes), source.offset() as usize);
        return Ok(Flow::Later(Box::new(Restoring { request, payload, crc: None, at, loader })));
    }
    place(exec.shard, &request, &mut loader)?;
    reply.ok();
    DONE
}

/// Puts a value that is complete in its place.
fn place(shard: &mut Shard, request: &Request, loader: &mut Loader) -> Result<(), Error> {
    let Request { key, view, ttl, options } = request;
    let loaded = loader.take();
    if matches!(loaded, Loaded::Empty) {
        return Err(BAD_DATA);
    }
    let keys = &mut shard.keys;
    let key = keys.key(key);
    let expire_at = match (*ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        // Beyond all times: over, as it is for Redis, whose clock goes round.
        (ttl, false) => Some(ttl.checked_add(view.now).filter(|&at| i64::try_from(at).is_ok()).unwrap_or(0)),
    };
    if expire_at.is_some_and(|at| at <= view.now) {
        if options.replace {
            keys.remove(*view, &key);
        }
        return Ok(());
    }
    match loaded {
        Loaded::String(text) => {
            let value = match Item::of(text) {
                Item::Int(int) => NewValue::Int(int),
                Item::Bytes(text) => NewValue::Bytes(text),
            };
            keys.set(*view, &key, value, expire_at.map_or(NewExpiry::Clear, NewExpiry::At));
        }
        Loaded::LongString(text) => {
            let expiry = expire_at.map_or(NewExpiry::Clear, NewExpiry::At);
            keys.set(*view, &key, NewValue::Shared(text.into()), expiry);
        }
        Loaded::Object(object) => keys.put_object(*view, &key, object, expire_at),
        Loaded::Empty => unreachable!("refused above"),
    }
    // What was at the key before does not count.
    keys.set_usage(*view, &key, Usage::New);
    if let Some(usage) = options.usage {
        keys.set_usage(*view, &key, usage);
    }
    Ok(())
}

/// A restore under way.
struct Restoring {
    request: Request,
    payload: Bytes,
    /// The checksum of the bytes up to here; none when it has been compared.
    crc: Option<(Crc64, usize)>,
    /// Where the loader is in the payload; 0 before it has begun.
    at: usize,
    loader: Loader,
}

impl Restoring {
    /// Works for a slice; true at the end.
    fn advance(&mut self, shard: &mut Shard, now: UnixMs, budget: usize) -> Result<bool, Error> {
        self.request.view.now = now;
        if let Some((crc, at)) = &mut self.crc {
            let end = self.payload.len() - payload::FOOTER_BYTES + 2;
            let next = end.min(*at + budget * BYTES_PER_SEGMENT);
            crc.update(&self.payload[*at..next]);
            *at = next;
            if next < end {
                return Ok(false);
            }
            let crc = crc.value();
            payload::open_checked(&self.payload, crc).map_err(|_| BAD_PAYLOAD)?;
            self.crc = None;
            return Ok(false);
        }
        let value = &self.payload[..self.payload.len() - payload::FOOTER_BYTES];
        if self.at == 0 {
            self.loader.begin(value[0]).map_err(|_| BAD_DATA)?;
            self.at = 1;
        }
        let mut source = Slice::at(value, self.at);
        let complete = self.loader.advance(&mut source, budget * ELEMENTS_PER_SEGMENT);
        self.at = source.offset() as usize;
        if !complete.map_err(|_| BAD_DATA)? {
            return Ok(false);
        }
        let Request { key, view, options, .. } = &self.request;
        if !options.replace && shard.keys.exists(*view, &shard.keys.key(key)) {
            return Err(BUSY_KEY);
        }
        place(shard, &self.request, &mut self.loader)?;
        Ok(true)
    }
}

impl Continuation for Restoring {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        match self.advance(shard, now, budget.max(1)) {
            Ok(false) => return false,
            Ok(true) => reply.ok(),
            Err(error) => reply.error(error.text()),
        }
        true
    }
}

const _: () = assert!(BYTES_AT_ONCE > payload::FOOTER_BYTES);

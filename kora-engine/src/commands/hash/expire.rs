//! Expiries of fields: HEXPIRE, HTTL and their relatives, HGETEX and HSETEX.
//!
//! A time that has passed removes the field at once. Times are checked in Redis's order and against Redis's latest one
//! ([`EXPIRY_MAX`]). As in Redis, a command that could set an expiry turns a packed hash into the form that can hold some, even
//! if in the end it sets none.

use super::fields::{fields, NOT_POSITIVE};
use super::set::{edit_or_create, make_room, set_pairs};
use crate::args::{integer, is};
use crate::change::UnixMs;
use crate::command::Command;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::Editor;
use crate::reply::Reply;
use crate::value::hash::{FieldExpiry, Found, Hash, EXPIRY_MAX};

const NEGATIVE: Error = Error::new("ERR invalid expire time, must be >= 0");

/// No such field, nor any of a missing key.
const NO_FIELD: i64 = -2;
/// The field does not expire.
const NO_EXPIRY: i64 = -1;

/// What a number in a command counts, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds = 1000,
    Milliseconds = 1,
}

/// An expiry as written in a command: a unit, and whether it counts from now.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Form {
    unit: Unit,
    relative: bool,
}

impl Form {
    /// The form of an option word: EX, PX, EXAT or PXAT.
    fn named(word: &[u8]) -> Option<Form> {
        use Unit::{Milliseconds, Seconds};
        let (unit, relative) = match word.to_ascii_lowercase().as_slice() {
            b"ex" => (Seconds, true),
            b"px" => (Milliseconds, true),
            b"exat" => (Seconds, false),
            b"pxat" => (Milliseconds, false),
            _ => return None,
        };
        Some(Form { unit, relative })
    }

    /// The absolute time that an argument means.
    ///
    /// # Errors
    /// It is not an integer, negative, or later than [`EXPIRY_MAX`].
    fn resolve(self, argument: &[u8], now: UnixMs, command: &Command) -> Result<UnixMs, Error> {
        let amount = u64::try_from(integer(argument)?).map_err(|_| NEGATIVE)?;
        let base = if self.relative { now } else { 0 };
        amount
            .checked_mul(self.unit as u64)
            .and_then(|ms| ms.checked_add(base))
            .filter(|&at| at <= EXPIRY_MAX)
            .ok_or_else(|| Error::invalid_expire(&command.full_name))
    }
}

/// On which present expiry a new one depends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// NX: only if there is none.
    None,
    /// XX: only if there is one.
    Some,
    /// GT: only if the new one is later. No expiry is later than any.
    Later,
    /// LT: only if the new one is earlier.
    Earlier,
}

impl Condition {
    fn named(word: &[u8]) -> Option<Condition> {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => Some(Condition::None),
            b"xx" => Some(Condition::Some),
            b"gt" => Some(Condition::Later),
            b"lt" => Some(Condition::Earlier),
            _ => None,
        }
    }

    fn holds(self, present: Option<UnixMs>, at: UnixMs) -> bool {
        match (self, present) {
            (Condition::None, present) => present.is_none(),
            (Condition::Some, present) => present.is_some(),
            (Condition::Later, present) => present.is_some_and(|present| at > present),
            (Condition::Earlier, present) => present.is_none_or(|present| at < present),
        }
    }
}

/// HEXPIRE key seconds [condition] FIELDS numfields field [field ...]
pub(super) fn hexpire(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    expire(exec, Form { unit: Unit::Seconds, relative: true }, reply)
}

/// HPEXPIRE key milliseconds [condition] FIELDS numfields field [field ...]
pub(super) fn hpexpire(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    expire(exec, Form { unit: Unit::Milliseconds, relative: true }, reply)
}

/// HEXPIREAT key unix-time-seconds [condition] FIELDS numfields field [field ...]
pub(super) fn hexpireat(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    expire(exec, Form { unit: Unit::Seconds, relative: false }, reply)
}

/// HPEXPIREAT key unix-time-milliseconds [condition] FIELDS numfields field [field ...]
pub(super) fn hpexpireat(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    expire(exec, Form { unit: Unit::Milliseconds, relative: false }, reply)
}

fn expire(exec: &mut Exec<'_>, form: Form, reply: &mut dyn Reply) -> Outcome {
    const NOT_ABOVE_ZERO: Error = Error::new("ERR Parameter `numFields` should be greater than 0");
    const CONDITION_FAILED: i64 = 0;
    const SET: i64 = 1;
    const REMOVED: i64 = 2;
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let hash = keys.edit::<Hash>(exec.view, &key)?;
    let at = form.resolve(exec.argv[2], now, exec.command)?;
    let condition = Condition::named(exec.argv[3]);
    let fields = fields(exec.argv, 3 + condition.is_some() as usize, NOT_ABOVE_ZERO)?;
    reply.array(fields.len());
    let Some(mut hash) = hash else {
        fields.iter().for_each(|_| reply.integer(NO_FIELD));
        return DONE;
    };
    hash.make_expiring();
    for field in fields {
        hash.reclaim_field(field, now);
        reply.integer(match hash.find(field).map(|found| found.expire_at) {
            None => NO_FIELD,
            Some(present) if condition.is_some_and(|condition| !condition.holds(present, at)) => {
                CONDITION_FAILED
            }
            Some(_) if at <= now => {
                hash.remove(field);
                REMOVED
            }
            Some(_) => {
                hash.set_expiry(field, Some(at));
                SET
            }
        });
    }
    DONE
}

/// HPERSIST key FIELDS numfields field [field ...]
pub(super) fn hpersist(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    const PERSISTED: i64 = 1;
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = keys.edit::<Hash>(exec.view, &key)?;
    let fields = fields(exec.argv, 2, NOT_POSITIVE)?;
    reply.array(fields.len());
    for field in fields {
        let found = hash.as_ref().and_then(|hash| hash.get(field, now)).map(|found| found.expire_at);
        reply.integer(match (&mut hash, found) {
            (_, None) | (None, _) => NO_FIELD,
            (_, Some(None)) => NO_EXPIRY,
            (Some(hash), Some(Some(_))) => {
                hash.set_expiry(field, None);
                PERSISTED
            }
        });
    }
    DONE
}

/// HTTL key FIELDS numfields field [field ...]
pub(super) fn httl(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    tell(exec, reply, |at| at.saturating_sub(now).div_ceil(1000))
}

/// HPTTL key FIELDS numfields field [field ...]
pub(super) fn hpttl(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    tell(exec, reply, |at| at.saturating_sub(now))
}

/// HEXPIRETIME key FIELDS numfields field [field ...]
pub(super) fn hexpiretime(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    tell(exec, reply, |at| at.div_ceil(1000))
}

/// HPEXPIRETIME key FIELDS numfields field [field ...]
pub(super) fn hpexpiretime(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    tell(exec, reply, |at| at)
}

fn tell(exec: &mut Exec<'_>, reply: &mut dyn Reply, told: impl Fn(UnixMs) -> u64) -> Outcome {
    let now = exec.now();
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let hash = keys.read::<Hash>(exec.view, &key)?;
    let fields = fields(exec.argv, 2, NOT_POSITIVE)?;
    reply.array(fields.len());
    for field in fields {
        let found: Option<Found<'_>> = hash.as_ref().and_then(|hash| hash.get(field, now));
        reply.integer(match found.map(|found| found.expire_at) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(at)) => told(at) as i64,
        });
    }
    DONE
}

/// What HGETEX does to the expiries.
enum Change {
    Leave,
    Persist,
    At(UnixMs),
}

/// HGETEX key [expiry] FIELDS numfields field [field ...]
pub(super) fn hgetex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    let argv = exec.argv;
    let keys = &mut exec.shard.keys;
    let key = keys.key(argv[1]);
    let mut hash = keys.edit::<Hash>(exec.view, &key)?;
    let (change, at) = if let Some(form) = Form::named(argv[2]) {
        (Change::At(form.resolve(argv[3], now, exec.command)?), 4)
    } else if is(argv[2], "persist") {
        (Change::Persist, 3)
    } else {
        (Change::Leave, 2)
    };
    if at + 1 >= argv.len() {
        return Err(Error::wrong_arity(&exec.command.full_name));
    }
    let fields = fields(argv, at, NOT_POSITIVE)?;
    reply.array(fields.len());
    if let (Some(hash), Change::At(_) | Change::Persist) = (&mut hash, &change) {
        hash.make_expiring();
    }
    for field in fields {
        let Some(hash) = &mut hash else {
            reply.null();
            continue;
        };
        let Some(found) = hash.get(field, now) else {
            reply.null();
            continue;
        };
        found.value.reply(reply);
        let expires = found.expire_at.is_some();
        match change {
            Change::At(at) if at <= now => {
                hash.remove(field);
            }
            Change::At(at) => {
                hash.set_expiry(field, Some(at));
            }
            Change::Persist if expires => {
                hash.set_expiry(field, None);
            }
            Change::Persist | Change::Leave => {}
        }
    }
    DONE
}

/// The options of HSETEX.
struct SetOptions<'a> {
    /// FNX (false) or FXX (true): none of the fields may exist, or all must.
    all_exist: Option<bool>,
    expiry: FieldExpiry,
    /// Fields and values in turn.
    pairs: &'a [&'a [u8]],
}

impl<'a> SetOptions<'a> {
    fn parse(argv: &'a [&'a [u8]], now: UnixMs, command: &Command) -> Result<SetOptions<'a>, Error> {
        const ONE_CONDITION: Error = Error::new("ERR Only one of FXX or FNX arguments can be specified");
        const ONE_EXPIRY: Error =
            Error::new("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
        const BAD_NUMBER: Error = Error::new("ERR invalid number of fields");
        let wrong_arity = || Error::wrong_arity(&command.full_name);
        let (mut all_exist, mut expiry) = (None, FieldExpiry::Clear);
        let mut at = 2;
        loop {
            let word = *argv.get(at).ok_or_else(wrong_arity)?;
            at += 1;
            let form = Form::named(word);
            if is(word, "fields") {
                break;
            } else if is(word, "fnx") || is(word, "fxx") {
                if all_exist.replace(is(word, "fxx")).is_some() {
                    return Err(ONE_CONDITION);
                }
            } else if form.is_some() || is(word, "keepttl") {
                if expiry != FieldExpiry::Clear {
                    return Err(ONE_EXPIRY);
                }
                expiry = match form {
                    None => FieldExpiry::Keep,
                    Some(form) => {
                        let argument = argv.get(at).ok_or_else(wrong_arity)?;
                        at += 1;
                        FieldExpiry::At(form.resolve(argument, now, command)?)
                    }
                };
            } else {
                return Err(Error::owned([b"ERR unknown argument: ", word].concat()));
            }
        }
        if argv.len() < at + 3 {
            return Err(wrong_arity());
        }
        let number = integer(argv[at]).ok().and_then(|n| i32::try_from(n).ok());
        let number = number.filter(|&n| n >= 1).ok_or(BAD_NUMBER)?;
        let pairs = &argv[at + 1..];
        if pairs.len() != number as usize * 2 {
            return Err(wrong_arity());
        }
        Ok(SetOptions { all_exist, expiry, pairs })
    }

    fn condition_holds(&self, hash: &Editor<'_, Hash>, now: UnixMs) -> bool {
        let Some(all_exist) = self.all_exist else { return true };
        self.pairs.iter().step_by(2).all(|field| hash.get(field, now).is_some() == all_exist)
    }
}

/// HSETEX key [condition] [expiry] FIELDS numfields field value [field value ...]
pub(super) fn hsetex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (now, limits) = (exec.now(), exec.shard.config.limits);
    let options = SetOptions::parse(exec.argv, now, exec.command)?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let mut hash = edit_or_create(keys, exec.view, &key)?;
    let holds = options.condition_holds(&hash, now);
    if holds {
        if let FieldExpiry::At(at) = options.expiry {
            make_room(&mut hash, options.pairs, &limits);
            hash.make_expiring();
            if at <= now {
                for field in options.pairs.iter().step_by(2) {
                    hash.reclaim_field(field, now);
                    if !hash.remove(field) {
                        // Redis sets it before it removes it, which leaves a mark.
                        hash.make_room_for_one(&limits);
                    }
                }
                reply.integer(1);
                return DONE;
            }
        }
        set_pairs(&mut hash, options.pairs, options.expiry, now, &limits);
    }
    reply.integer(holds as i64);
    DONE
}

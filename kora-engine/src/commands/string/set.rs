//! SET and its relatives: whole values are written.

use super::condition::{Comparison, Condition};
use super::expiry::Form;
use super::value::{answer_or_null, stored};
use crate::args::is;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::NewExpiry;
use crate::reply::Reply;

/// What SET does to the expiry, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpiryOption<'a> {
    Clear,
    Keep,
    At(Form, &'a [u8]),
}

/// The options of SET.
struct Options<'a> {
    condition: Condition<'a>,
    get: bool,
    expiry: ExpiryOption<'a>,
}

impl<'a> Options<'a> {
    /// Options come in any order; one may be repeated (the last counts), two that exclude each other may not meet.
    fn parse(words: &[&'a [u8]]) -> Result<Options<'a>, Error> {
        let mut options = Options { condition: Condition::None, get: false, expiry: ExpiryOption::Clear };
        let mut rest = words.iter();
        while let Some(&word) = rest.next() {
            if is(word, "get") {
                options.get = true;
            } else if is(word, "keepttl") {
                if matches!(options.expiry, ExpiryOption::At(..)) {
                    return Err(Error::SYNTAX);
                }
                options.expiry = ExpiryOption::Keep;
            } else if let Some(form) = Form::named(word) {
                match options.expiry {
                    ExpiryOption::Keep => return Err(Error::SYNTAX),
                    ExpiryOption::At(other, _) if other != form => return Err(Error::SYNTAX),
                    _ => {}
                }
                options.expiry = ExpiryOption::At(form, rest.next().ok_or(Error::SYNTAX)?);
            } else {
                let condition = if is(word, "nx") {
                    Condition::Missing
                } else if is(word, "xx") {
                    Condition::Present
                } else if let Some(comparison) = Comparison::named(word) {
                    Condition::Compare(comparison, rest.next().ok_or(Error::SYNTAX)?)
                } else {
                    return Err(Error::SYNTAX);
                };
                if !options.condition.may_become(condition) {
                    return Err(Error::SYNTAX);
                }
                options.condition = condition;
            }
        }
        Ok(options)
    }
}

impl<'a> Condition<'a> {
    /// Conditions exclude each other; the same one may be repeated.
    fn may_become(self, other: Condition<'a>) -> bool {
        match (self, other) {
            (Condition::None, _) => true,
            (Condition::Compare(one, _), Condition::Compare(other, _)) => one == other,
            (one, other) => one == other,
        }
    }
}

/// SET key value ...
pub(super) fn set(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    if exec.argc() != 3 {
        return set_with_options(exec, reply);
    }
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    keys.set(exec.view, &key, stored(exec.argv[2], exec.frame), NewExpiry::Clear);
    reply.ok();
    DONE
}

fn set_with_options(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let options = Options::parse(&exec.argv[3..])?;
    let expiry = match options.expiry {
        ExpiryOption::Clear => NewExpiry::Clear,
        ExpiryOption::Keep => NewExpiry::Keep,
        ExpiryOption::At(form, argument) => {
            NewExpiry::At(form.resolve(argument, exec.now(), exec.command)?)
        }
    };
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    if options.get || options.condition != Condition::None {
        let reads = options.get || matches!(options.condition, Condition::Compare(..));
        let entry = if reads { keys.get_string(exec.view, &key)? } else { keys.peek(exec.view, &key) };
        let old = entry.map(|entry| entry.value());
        let holds = options.condition.holds(old)?;
        if options.get {
            answer_or_null(old, reply);
        } else if !holds {
            reply.null();
        }
        if !holds {
            return DONE;
        }
    }
    keys.set(exec.view, &key, stored(exec.argv[2], exec.frame), expiry);
    if !options.get {
        reply.ok();
    }
    DONE
}

/// SETNX key value
pub(super) fn setnx(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let missing = !keys.exists(exec.view, &key);
    if missing {
        keys.set(exec.view, &key, stored(exec.argv[2], exec.frame), NewExpiry::Clear);
    }
    reply.integer(missing as i64);
    DONE
}

/// SETEX key seconds value
pub(super) fn setex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    set_expiring(exec, Form::Seconds, reply)
}

/// PSETEX key milliseconds value
pub(super) fn psetex(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    set_expiring(exec, Form::Milliseconds, reply)
}

fn set_expiring(exec: &mut Exec<'_>, form: Form, reply: &mut dyn Reply) -> Outcome {
    let at = form.resolve(exec.argv[2], exec.now(), exec.command)?;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    keys.set(exec.view, &key, stored(exec.argv[3], exec.frame), NewExpiry::At(at));
    reply.ok();
    DONE
}

/// GETSET key value
pub(super) fn getset(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    answer_or_null(keys.get_string(exec.view, &key)?.map(|entry| entry.value()), reply);
    keys.set(exec.view, &key, stored(exec.argv[2], exec.frame), NewExpiry::Clear);
    DONE
}

/// MSET key value [key value ...]
pub(super) fn mset(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    check_pairs(exec)?;
    set_pairs(exec);
    reply.ok();
    DONE
}

/// MSETNX key value [key value ...]
pub(super) fn msetnx(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    check_pairs(exec)?;
    let keys = &mut exec.shard.keys;
    let missing = exec.argv[1..].iter().step_by(2).all(|name| {
        let key = keys.key(name);
        !keys.exists(exec.view, &key)
    });
    if missing {
        set_pairs(exec);
    }
    reply.integer(missing as i64);
    DONE
}

fn check_pairs(exec: &Exec<'_>) -> Result<(), Error> {
    if exec.argc().is_multiple_of(2) {
        return Err(Error::wrong_arity(&exec.command.full_name));
    }
    Ok(())
}

fn set_pairs(exec: &mut Exec<'_>) {
    let keys = &mut exec.shard.keys;
    for pair in exec.argv[1..].chunks_exact(2) {
        let key = keys.key(pair[0]);
        keys.set(exec.view, &key, stored(pair[1], exec.frame), NewExpiry::Clear);
    }
}

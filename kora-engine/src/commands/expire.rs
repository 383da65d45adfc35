//! Times to live. Every expiry is kept as an absolute time in milliseconds; one that is past removes the key.

use crate::args;
use crate::change::UnixMs;
use crate::command::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Run, Spread, ROW};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::reply::Reply;

const SET: CommandSpec = CommandSpec {
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    categories: Categories::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    ..ROW
};

const ASK: CommandSpec = CommandSpec {
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    categories: Categories::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Generic,
    syntax: "key",
    ..ROW
};

pub(crate) const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "expire",
        summary: "Lets a key live for so many seconds from now.",
        syntax: "key seconds [NX | XX | GT | LT]",
        run: Run::Keys(expire, Spread::OneKey),
        ..SET
    },
    CommandSpec {
        name: "pexpire",
        since: "2.6.0",
        summary: "Lets a key live for so many milliseconds from now.",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        run: Run::Keys(pexpire, Spread::OneKey),
        ..SET
    },
    CommandSpec {
        name: "expireat",
        since: "1.2.0",
        summary: "Lets a key live until a Unix time in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        run: Run::Keys(expireat, Spread::OneKey),
        ..SET
    },
    CommandSpec {
        name: "pexpireat",
        since: "2.6.0",
        summary: "Lets a key live until a Unix time in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        run: Run::Keys(pexpireat, Spread::OneKey),
        ..SET
    },
    CommandSpec {
        name: "persist",
        arity: 2,
        since: "2.2.0",
        summary: "Takes the expiry off a key.",
        syntax: "key",
        run: Run::Keys(persist, Spread::OneKey),
        ..SET
    },
    CommandSpec {
        name: "ttl",
        summary: "Tells how many seconds a key has left: -1 when it does not expire, -2 when there is none.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(ttl, Spread::OneKey),
        ..ASK
    },
    CommandSpec {
        name: "pttl",
        since: "2.6.0",
        summary:
            "Tells how many milliseconds a key has left: -1 when it does not expire, -2 when there is none.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(pttl, Spread::OneKey),
        ..ASK
    },
    CommandSpec {
        name: "expiretime",
        since: "7.0.0",
        summary: "Tells when a key expires, as a Unix time in seconds.",
        run: Run::Keys(expiretime, Spread::OneKey),
        ..ASK
    },
    CommandSpec {
        name: "pexpiretime",
        since: "7.0.0",
        summary: "Tells when a key expires, as a Unix time in milliseconds.",
        run: Run::Keys(pexpiretime, Spread::OneKey),
        ..ASK
    },
];

/// What the number in a command counts, in milliseconds.
#[derive(Clone, Copy)]
enum Unit {
    Seconds = 1000,
    Milliseconds = 1,
}

/// On which present expiry a new one depends. All that are given must hold.
#[derive(Default, Clone, Copy)]
struct Conditions {
    /// NX: only if there is none.
    none: bool,
    /// XX: only if there is one.
    some: bool,
    /// GT: only if the new one is later. No expiry is later than any.
    later: bool,
    /// LT: only if the new one is earlier.
    earlier: bool,
}

impl Conditions {
    fn parse(words: &[&[u8]]) -> Result<Conditions, Error> {
        const NX_WITH_OTHERS: Error =
            Error::new("ERR NX and XX, GT or LT options at the same time are not compatible");
        const GT_WITH_LT: Error = Error::new("ERR GT and LT options at the same time are not compatible");
        let mut given = Conditions::default();
        for word in words {
            if args::is(word, "nx") {
                given.none = true;
            } else if args::is(word, "xx") {
                given.some = true;
            } else if args::is(word, "gt") {
                given.later = true;
            } else if args::is(word, "lt") {
                given.earlier = true;
            } else {
                return Err(Error::owned([b"ERR Unsupported option ", *word].concat()));
            }
        }
        if given.none && (given.some || given.later || given.earlier) {
            return Err(NX_WITH_OTHERS);
        }
        if given.later && given.earlier {
            return Err(GT_WITH_LT);
        }
        Ok(given)
    }

    /// `at` may lie before 1970: such a time is past, and earlier than any present expiry.
    fn hold(self, present: Option<UnixMs>, at: i64) -> bool {
        let Some(present) = present else { return !self.some && !self.later };
        let present = present as i64;
        !self.none && (!self.later || at > present) && (!self.earlier || at < present)
    }
}

fn expire(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    expire_after(exec, reply, now, Unit::Seconds)
}

fn pexpire(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    expire_after(exec, reply, now, Unit::Milliseconds)
}

fn expireat(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    expire_after(exec, reply, 0, Unit::Seconds)
}

fn pexpireat(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    expire_after(exec, reply, 0, Unit::Milliseconds)
}

fn expire_after(exec: &mut Exec<'_>, reply: &mut dyn Reply, base: UnixMs, unit: Unit) -> Outcome {
    let conditions = Conditions::parse(&exec.argv[3..])?;
    let at = args::integer(exec.argv[2])?
        .checked_mul(unit as i64)
        .and_then(|ms| ms.checked_add(base as i64))
        .ok_or_else(|| Error::invalid_expire(exec.command.spec.name))?;
    let (view, now) = (exec.view, exec.now() as i64);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let set = match keys.peek(view, &key).map(|entry| entry.expire_at()) {
        None => false,
        Some(present) if !conditions.hold(present, at) => false,
        Some(_) if at <= now => keys.remove(view, &key),
        Some(_) => keys.set_expiry(view, &key, Some(at as UnixMs)),
    };
    reply.integer(set as i64);
    DONE
}

fn persist(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let view = exec.view;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let expires = keys.peek(view, &key).is_some_and(|entry| entry.expire_at().is_some());
    let persisted = expires && keys.set_expiry(view, &key, None);
    reply.integer(persisted as i64);
    DONE
}

fn ttl(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    tell(exec, reply, |at| rounded_seconds(at.saturating_sub(now)))
}

fn pttl(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let now = exec.now();
    tell(exec, reply, |at| at.saturating_sub(now))
}

fn expiretime(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    tell(exec, reply, rounded_seconds)
}

fn pexpiretime(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    tell(exec, reply, |at| at)
}

fn tell(exec: &mut Exec<'_>, reply: &mut dyn Reply, told: impl Fn(UnixMs) -> u64) -> Outcome {
    const NO_KEY: i64 = -2;
    const NO_EXPIRY: i64 = -1;
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    reply.integer(match keys.get(exec.view.untouched(), &key).map(|entry| entry.expire_at()) {
        None => NO_KEY,
        Some(None) => NO_EXPIRY,
        Some(Some(at)) => told(at) as i64,
    });
    DONE
}

/// To the nearest second, as Redis does.
fn rounded_seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

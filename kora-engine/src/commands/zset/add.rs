//! ZADD and ZINCRBY: members get scores.

use super::growth;
use crate::args::is;
use crate::double;
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::{Editor, Key, Keyspace, View};
use crate::reply::Reply;
use crate::value::zset::{Growth, Zset};

const NX_AND_XX: Error = Error::new("ERR XX and NX options at the same time are not compatible");
const GT_LT_NX: Error = Error::new("ERR GT, LT, and/or NX options at the same time are not compatible");
const ONE_INCREMENT: Error = Error::new("ERR INCR option supports a single increment-element pair");
const NOT_A_NUMBER: Error = Error::new("ERR resulting score is not a number (NaN)");

/// Which members may change, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AddRules {
    /// Only members that are not there.
    pub(crate) only_new: bool,
    /// Only members that are there.
    pub(crate) only_old: bool,
    /// A member that is there may only get a greater score.
    greater: bool,
    /// A member that is there may only get a lower score.
    less: bool,
    /// Add to the score.
    pub(crate) increment: bool,
    /// Answer with the number of changed members, not of added ones.
    pub(crate) count_changed: bool,
}

impl AddRules {
    /// Reads the options at the beginning of the arguments; returns how many there are.
    fn parse(words: &[&[u8]]) -> (AddRules, usize) {
        let mut rules = AddRules::default();
        for (index, word) in words.iter().enumerate() {
            let rule = if is(word, "nx") {
                &mut rules.only_new
            } else if is(word, "xx") {
                &mut rules.only_old
            } else if is(word, "gt") {
                &mut rules.greater
            } else if is(word, "lt") {
                &mut rules.less
            } else if is(word, "ch") {
                &mut rules.count_changed
            } else if is(word, "incr") {
                &mut rules.increment
            } else {
                return (rules, index);
            };
            *rule = true;
        }
        (rules, words.len())
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.only_new && self.only_old {
            return Err(NX_AND_XX);
        }
        if (self.greater || self.less) && self.only_new || self.greater && self.less {
            return Err(GT_LT_NX);
        }
        Ok(())
    }

    /// The score that a member gets: none when it is left alone.
    ///
    /// # Errors
    /// The sum of two infinities of different signs.
    fn decide(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, Error> {
        let Some(old) = old else { return Ok((!self.only_old).then_some(given)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { old + given } else { given };
        if score.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        let refused = self.less && score >= old || self.greater && score <= old;
        Ok((!refused).then_some(score))
    }
}

/// What became of one member.
pub(crate) enum Added {
    /// The rules left it alone.
    Declined,
    /// It has this score; `changed` unless it had it before.
    Done { score: f64, new: bool, changed: bool },
}

/// Gives one member a score as the rules allow.
fn add_one(
    zset: &mut Editor<'_, Zset>,
    rules: &AddRules,
    member: &[u8],
    given: f64,
    growth: Growth,
) -> Result<Added, Error> {
    let mut decided = Ok(None);
    let updated = zset.update(member, growth, |old| {
        decided = rules.decide(old, given);
        decided.clone().ok().flatten()
    });
    Ok(match decided? {
        None => Added::Declined,
        Some(score) => Added::Done { score, new: updated.old.is_none(), changed: updated.new.is_some() },
    })
}

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]
pub(super) fn zadd(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let (rules, options) = AddRules::parse(&exec.argv[2..]);
    let pairs = &exec.argv[2 + options..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(Error::SYNTAX);
    }
    rules.check()?;
    if rules.increment && pairs.len() > 2 {
        return Err(ONE_INCREMENT);
    }
    if let [score, member] = pairs {
        let score = double::parse(score).ok_or(Error::NOT_FLOAT)?;
        return add(exec, rules, [(score, *member)].into_iter(), reply);
    }
    // All scores are read before anything is written.
    let mut scores = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        scores.push((double::parse(pair[0]).ok_or(Error::NOT_FLOAT)?, pair[1]));
    }
    add(exec, rules, scores.into_iter(), reply)
}

/// Adds members with their scores and answers as ZADD does.
pub(crate) fn add<'m>(
    exec: &mut Exec<'_>,
    rules: AddRules,
    members: impl ExactSizeIterator<Item = (f64, &'m [u8])> + Clone,
    reply: &mut dyn Reply,
) -> Outcome {
    let growth = growth(exec);
    let keys = &mut exec.shard.keys;
    let key = keys.key(exec.argv[1]);
    let Some(mut zset) = editor(keys, exec.view, &key, &rules)? else {
        match rules.increment {
            true => reply.null(),
            false => reply.integer(0),
        }
        return DONE;
    };
    if zset.is_new() {
        let longest = members.clone().map(|(_, member)| member.len()).max().unwrap_or(0);
        zset.expect(members.len(), longest, growth);
    }
    let (mut added, mut changed) = (0, 0);
    for (given, member) in members {
        let one = add_one(&mut zset, &rules, member, given, growth)?;
        if rules.increment {
            match one {
                Added::Declined => reply.null(),
                Added::Done { score, .. } => reply.double(score),
            }
            return DONE;
        }
        if let Added::Done { new, changed: is_changed, .. } = one {
            added += i64::from(new);
            changed += i64::from(is_changed);
        }
    }
    reply.integer(if rules.count_changed { changed } else { added });
    DONE
}

/// The set to add to; none when only what is there may change and there is nothing.
fn editor<'k>(
    keys: &'k mut Keyspace,
    view: View,
    key: &Key<'k>,
    rules: &AddRules,
) -> Result<Option<Editor<'k, Zset>>, Error> {
    if rules.only_old {
        return keys.edit(view, key);
    }
    keys.edit_or_create(view, key).map(Some)
}

/// ZINCRBY key increment member
pub(super) fn zincrby(exec: &mut Exec<'_>, reply: &mut dyn Reply) -> Outcome {
    let increment = double::parse(exec.argv[2]).ok_or(Error::NOT_FLOAT)?;
    let rules = AddRules { increment: true, ..AddRules::default() };
    add(exec, rules, [(increment, exec.argv[3])].into_iter(), reply)
}

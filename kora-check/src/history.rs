//! What was observed: which client asked for what, when, and what it was told.
//!
//! ```text
//!   client 1   |---- SET x 1 ----|             call .. response
//!   client 2        |- GET x -> nil -|
//!   client 3              |-- INCR y ---------- ...   no response: it may have happened, or not, until some time
//! ```
//!
//! An operation is one command, or several that are promised to happen at one moment (EXEC, a script). Times are any numbers that
//! grow: nanoseconds of a monotonic clock in stress tests, the clock of the simulator there. An operation precedes another if
//! its response is *earlier* than the other's call; equal times count as overlapping, so a coarse clock makes a check weaker and never wrong.

use crate::command::{Command, Key, NotUnderstood, Reply};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A string of any bytes: a key, a value, an element. Cheap to clone.
pub type Bytes = Arc<[u8]>;

/// How many nanoseconds before its time-out a blocked client may have looked for the last time: 200 ms. Servers promise less; but where a machine is busy,
/// somebody may hold the key for so long, and who is given up meanwhile is not told what happened to it.
pub const TIMEOUT_PRECISION: u64 = 200_000_000;

/// How an operation ended, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply came.
    Replied {
        /// When.
        at: u64,
        /// One for each command of the operation.
        replies: Vec<Reply>,
    },
    /// No reply came. The operation happened once or never; and never after this time, for instance because its connection was seen to be
    /// gone by then. `u64::MAX` when nothing is known. (Each such operation that stays possible for long makes a check slower.)
    Unknown {
        /// The last moment at which it may have happened.
        until: u64,
    },
}

/// One operation of a history.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who asked. A client has one operation at a time.
    pub client: u32,
    /// When it was sent.
    pub call: u64,
    /// The commands; they happen at one moment, in this order.
    pub commands: Vec<Command>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// From when on it may have happened. A blocking command that came back empty-handed was blocked as long as its time-out had not passed,
    /// and was served if there was something to pop: so it found nothing when the time-out had passed, give or take [`TIMEOUT_PRECISION`].
    pub fn earliest(&self) -> u64 {
        let timeout = match self.commands[..] {
            [Command::BlockingPop { timeout, .. }
            | Command::BlockingZPopMin { timeout, .. }
            | Command::Move { timeout: Some(timeout), .. }] => timeout,
            _ => 0,
        };
        match &self.outcome {
            Outcome::Replied { at, replies } if replies.first() == Some(&Reply::Nil) => {
                let blocked = timeout.saturating_sub(TIMEOUT_PRECISION);
                self.call.saturating_add(blocked).min(*at)
            }
            _ => self.call,
        }
    }

    /// Until when it may have happened.
    pub fn latest(&self) -> u64 {
        match self.outcome {
            Outcome::Replied { at, .. } => at,
            Outcome::Unknown { until } => until,
        }
    }

    /// The replies, if they came.
    pub fn replies(&self) -> Option<&[Reply]> {
        match &self.outcome {
            Outcome::Replied { replies, .. } => Some(replies),
            Outcome::Unknown { .. } => None,
        }
    }

    /// Whether its end lies before the other's begin.
    pub fn precedes(&self, other: &Operation) -> bool {
        self.replies().is_some() && self.latest() < other.call
    }

    /// All keys it names; [`Command::FlushAll`] names none.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.commands.iter().flat_map(Command::keys)
    }
}

/// Operations of concurrent clients on one keyspace that was empty at the beginning.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    names: Vec<Bytes>,
    keys: HashMap<Bytes, Key>,
}

impl History {
    /// No operations yet.
    pub fn new() -> History {
        History::default()
    }

    /// Adds an operation of one command, given as its words, or of several that are atomic together. The order of adding does not matter.
    ///
    /// # Errors
    /// A command that the checker has no specification of.
    pub fn add<A: AsRef<[u8]>>(
        &mut self,
        client: u32,
        call: u64,
        commands: &[Vec<A>],
        outcome: Outcome,
    ) -> Result<(), NotUnderstood> {
        let commands = commands
            .iter()
            .map(|words| {
                let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
                Command::parse(&words, &mut |name| self.key(name))
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.push(Operation { client, call, commands, outcome });
        Ok(())
    }

    /// Adds an operation whose keys are of this history.
    pub fn push(&mut self, mut operation: Operation) {
        assert!(operation.call <= operation.latest(), "an operation ends after its call: {operation:?}");
        if let Outcome::Replied { replies, .. } = &mut operation.outcome {
            assert_eq!(replies.len(), operation.commands.len(), "one reply for each command");
            for (command, reply) in operation.commands.iter().zip(replies) {
                command.bring_to_order(reply);
            }
        }
        assert!(operation.keys().all(|key| key.index() < self.names.len()), "keys are of this history");
        self.operations.push(operation);
    }

    /// The key of this name.
    pub fn key(&mut self, name: &[u8]) -> Key {
        if let Some(&key) = self.keys.get(name) {
            return key;
        }
        let key = Key::new(self.names.len());
        self.names.push(name.into());
        self.keys.insert(name.into(), key);
        key
    }

    /// All operations, in the order in which they were added.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The name of a key.
    pub fn name(&self, key: Key) -> &[u8] {
        &self.names[key.index()]
    }

    /// How many keys there are; [`Key::index`] is less.
    pub fn key_count(&self) -> usize {
        self.names.len()
    }

    /// An operation as a line of a story: `client 3 [120..180]  SET x 1 -> OK`.
    pub fn line(&self, operation: usize) -> String {
        let operation = &self.operations[operation];
        let mut line = match operation.outcome {
            Outcome::Replied { at, .. } => {
                format!("client {} [{}..{at}]  ", operation.client, operation.call)
            }
            Outcome::Unknown { until: u64::MAX } => {
                format!("client {} [{}..no reply]  ", operation.client, operation.call)
            }
            Outcome::Unknown { until } => {
                format!("client {} [{}..no reply, over by {until}]  ", operation.client, operation.call)
            }
        };
        let atomic = operation.commands.len() != 1;
        line.push_str(if atomic { "atomically { " } else { "" });
        for (at, command) in operation.commands.iter().enumerate() {
            line.push_str(if at > 0 { "; " } else { "" });
            line.push_str(&command.text(self));
            if let Some(replies) = operation.replies() {
                line.push_str(&format!(" -> {}", replies[at]));
            }
        }
        line.push_str(if atomic { " }" } else { "" });
        line
    }
}

/// A history is bad: what promise is broken, and by which operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub kind: Kind,
    /// The operations concerned, as indexes of the history, in the order of the story.
    pub operations: Vec<usize>,
    /// What happened, for people: several lines.
    pub story: String,
}

/// Which promise a history breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no order of the operations that explains the replies.
    NotLinearizable,
    /// The search was given up before it found an order or had tried all.
    Undecided,
    /// The dependencies of the transactions have a cycle.
    Cycle,
    /// A value was read that nobody wrote, or an element popped that nobody pushed.
    Invented,
    /// An element came out of a queue twice.
    Duplicated,
    /// An element went into a queue and was not there any more, though nobody was given it.
    Lost,
    /// Elements came out of a queue in another order than they went in.
    Reordered,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.kind, self.story)
    }
}

impl std::error::Error for Violation {}

//! MULTI and EXEC: the queue of a connection, and its execution as one.
//!
//! ```text
//! queue   commands  [row, end of its words, database, place] ...
//!         ends      where each word ends in bytes
//!         bytes     all words of all commands
//! ```
//!
//! The queue knows of every command where it will run, so EXEC has three ways:
//!
//! - all keys, watched ones included, on the connection's own shard, and nobody holds one: the commands run in place, one after the other (`commands/transaction.rs`);
//! - all on one shard: one call there, which waits in line like any command, holding nothing;
//! - on several: all keys are held, watched ones shared; then the commands of each shard run in one call. A command over several
//!   shards, or one of the network layer that takes rounds, comes after everything before it and before everything after it.
//!
//! All of it is of one time. What the network layer answers at once neither reads nor writes data, so its place among the others does not matter.

use crate::coordinate::{Hub, Task};
use crate::limits::{EXEC_KEYS_MAX, EXEC_WHOLE_MAX, TURN_COMMANDS_MAX};
use crate::mail::ReplyTo;
use crate::resp::encode::{Output, RespSink};
use crate::script::call::Holds;
use crate::several::{self, Home};
use crate::transaction::footprint::{self, Footprint};
use crate::transaction::locks::{Mode, Wants};
use crate::transaction::{self, Held, Part, Site};
use crate::watch::{self, Watching};
use crate::words::Argv;
use kora_engine::command::{Command, Flags};
use kora_engine::error::Error;
use kora_engine::keyspace::{Keyspace, View};
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::Applied;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Where a queued command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this shard, which has all its keys.
    Shard(u16),
    /// On several shards.
    Several,
    /// In the network layer, which answers at once.
    AtOnce,
    /// In the network layer, which may need rounds.
    Rounds,
    /// A script, which the network layer runs over the shards that it holds: those of its keys, or all.
    Script {
        /// It need not declare its keys.
        undeclared: bool,
    },
}

/// What the queued commands have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// No keys.
    Nowhere,
    /// Keys of one shard.
    One(u16),
    /// Keys of several.
    Several,
}

#[derive(Clone, Copy)]
struct Queued {
    command: &'static Command,
    /// Behind its last word.
    end: u32,
    /// SELECT before it in the queue is in force.
    db: u16,
    place: Place,
}

/// A queued command.
pub struct Entry<'q> {
    /// Its row.
    pub command: &'static Command,
    /// Its arguments.
    pub argv: Argv<'q>,
    /// The database that it is for.
    pub db: u16,
    /// Where it runs.
    pub place: Place,
}

/// Commands between MULTI and EXEC.
pub struct Queue {
    commands: Vec<Queued>,
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// The database of the next command.
    pub db: u16,
    /// A command could not be queued: EXEC will refuse.
    pub aborted: bool,
    /// The flags of all commands together.
    flags: Flags,
    extent: Extent,
    /// Some command of the network layer may need rounds.
    rounds: bool,
}

/// A queue whose memory is larger than this is not kept for the next transaction, bytes.
const KEPT_LEN_MAX: usize = 64 << 10;

impl Queue {
    /// For a connection on this database.
    pub fn new(db: u16) -> Queue {
        Queue {
            commands: Vec::new(),
            ends: Vec::new(),
            bytes: Vec::new(),
            db,
            aborted: false,
            flags: Flags::empty(),
            extent: Extent::Nowhere,
            rounds: false,
        }
    }

    /// Empty again, for another connection. Returns whether its memory is worth keeping.
    pub fn reset(&mut self, db: u16) -> bool {
        self.commands.clear();
        self.ends.clear();
        self.bytes.clear();
        let empty = Queue::new(db);
        let commands = std::mem::take(&mut self.commands);
        let (ends, bytes) = (std::mem::take(&mut self.ends), std::mem::take(&mut self.bytes));
        *self = Queue { commands, ends, bytes, ..empty };
        self.heap_bytes() <= KEPT_LEN_MAX
    }

    /// Adds a command, unless the queue would then take more than `limit` bytes; returns whether it did not.
    pub fn push(&mut self, command: &'static Command, argv: &[&[u8]], place: Place, limit: u64) -> bool {
        let words = argv.iter().map(|word| word.len() + size_of::<usize>()).sum::<usize>();
        let taken =
            self.bytes.len() + self.ends.len() * size_of::<usize>() + self.len() * size_of::<Queued>();
        if (taken + words + size_of::<Queued>()) as u64 > limit
            || self.ends.len() + argv.len() > u32::MAX as usize
        {
            return false;
        }
        for word in argv {
            self.bytes.extend_from_slice(word);
            self.ends.push(self.bytes.len());
        }
        self.commands.push(Queued { command, end: self.ends.len() as u32, db: self.db, place });
        self.flags |= command.spec.flags;
        match place {
            Place::Shard(shard) => {
                self.extent = match self.extent {
                    Extent::Nowhere => Extent::One(shard),
                    Extent::One(other) if other == shard => Extent::One(shard),
                    _ => Extent::Several,
                }
            }
            Place::Several => self.extent = Extent::Several,
            Place::AtOnce => {}
            Place::Rounds => self.rounds = true,
            Place::Script { .. } => {
                self.extent = Extent::Several;
                self.rounds = true;
            }
        }
        true
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether a command with one of these flags is among them.
    pub fn has(&self, flags: Flags) -> bool {
        self.flags.intersects(flags)
    }

    /// Where their keys are.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Whether a command of the network layer may need rounds.
    pub fn takes_rounds(&self) -> bool {
        self.rounds
    }

    /// The command at a position.
    pub fn get(&self, at: usize) -> Entry<'_> {
        let Queued { command, end, db, place } = self.commands[at];
        let first = at.checked_sub(1).map_or(0, |before| self.commands[before].end as usize);
        let mut start = first.checked_sub(1).map_or(0, |before| self.ends[before]);
        let words = self.ends[first..end as usize].iter();
        let argv = words.map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect();
        Entry { command, argv, db, place }
    }

    /// Where the command at a position runs.
    pub fn place(&self, at: usize) -> Place {
        self.commands[at].place
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Bytes of heap.
    pub fn heap_bytes(&self) -> usize {
        self.commands.capacity() * size_of::<Queued>()
            + self.ends.capacity() * size_of::<usize>()
            + self.bytes.capacity()
    }

    /// Gives its memory back; what was queued will not be executed.
    pub fn abort_and_free(&mut self) {
        *self = Queue { aborted: true, ..Queue::new(self.db) };
    }

    /// What the commands want of a shard that has all their keys, and those watched.
    pub fn wants(&self, keys: &Keyspace, watching: Option<&Watching>) -> Wants {
        let mut wants = Wants::default();
        for entry in self.iter() {
            wants.add(&footprint::wants_of(keys, entry.command, &entry.argv));
        }
        let watched = watching.into_iter().flat_map(Watching::keys);
        wants.add(&Wants::keys(watched.map(|(_, key)| (footprint::fingerprint(keys, key), Mode::Shared))));
        wants
    }

    /// What they want of all shards.
    fn parts(&self, keys: &Keyspace, watching: Option<&Watching>, shards: u16) -> Vec<Part> {
        let mut footprint = Footprint::new(shards);
        for Entry { command, argv, place, .. } in self.iter() {
            footprint.add_command(keys, command, &argv);
            if let Place::Script { undeclared } = place {
                Holds::of(command, &argv, shards, undeclared).want(&mut footprint);
            }
            if place == Place::Several && several::reads_anywhere(command, &argv) {
                footprint.add_everything(Mode::Shared);
            }
        }
        for (_, key) in watching.into_iter().flat_map(Watching::keys) {
            footprint.add_key(keys, key, Mode::Shared);
        }
        footprint.parts()
    }
}

/// What a command of the network layer has answered inside EXEC.
pub struct Served {
    /// Its reply.
    pub reply: Output,
    /// What is spoken from here on.
    pub protocol: Protocol,
    /// CLIENT REPLY OFF is in force from here on, this reply included.
    pub silent: bool,
}

/// Runs the queued command at a position in the network layer of its connection.
pub type Serve = Box<dyn Fn(usize) -> Pin<Box<dyn Future<Output = Served>>>>;

/// Runs the queued script at a position, with what it wants held; also when its client has gone meanwhile: the whole of a transaction happens.
pub type RunScript = Box<dyn Fn(usize, View, Protocol, Option<u64>) -> Pin<Box<dyn Future<Output = Output>>>>;

/// A transaction that is executed by a coordinator.
pub struct Transaction {
    /// Its commands.
    pub queue: Arc<Queue>,
    /// What it depends on.
    pub watching: Option<Arc<Watching>>,
    /// Time and access flags; the database is each command's own.
    pub view: View,
    /// What is spoken at its beginning.
    pub protocol: Protocol,
    /// CLIENT REPLY OFF is in force at its beginning.
    pub silent: bool,
    /// Where its reply goes.
    pub to: ReplyTo,
    /// For its commands of the network layer.
    pub serve: Serve,
    /// Its way to run scripts.
    pub script: RunScript,
}

/// The coordinator of a transaction that cannot run in place.
pub fn task<E: Site>(home: &mut impl Home<E>, transaction: Transaction) -> Task {
    let (queue, watching) = (&transaction.queue, transaction.watching.as_deref());
    let shards = home.shards();
    let mut owners = watching.map_or_else(Vec::new, |watching| watching.shards(shards));
    match queue.extent() {
        Extent::Nowhere => {}
        Extent::One(shard) => owners.push(shard),
        Extent::Several => owners.extend(0..shards),
    }
    owners.sort_unstable();
    owners.dedup();
    let one = match owners[..] {
        [shard] if !queue.takes_rounds() && queue.len() <= EXEC_WHOLE_MAX => Some(shard),
        _ => None,
    };
    let parts = match one {
        Some(_) => Vec::new(),
        None if queue.len() > EXEC_KEYS_MAX => {
            // What a script does is not seen from outside.
            let writes = queue.has(Flags::WRITE) || queue.takes_rounds();
            let mode = if writes { Mode::Exclusive } else { Mode::Shared };
            owners.iter().map(|&shard| Part { shard, wants: Wants::whole(mode) }).collect()
        }
        None => queue.parts(&home.shard().keys, watching, shards),
    };
    let mut execution = Execution {
        hub: home.hub(),
        home: home.number(),
        shards,
        protocol: transaction.protocol,
        batches: Vec::new(),
        outputs: Vec::new(),
        replies: vec![Portion::default(); queue.len()],
        at_once: Vec::new(),
        silences: vec![(0, transaction.silent)],
        transaction,
    };
    Box::pin(async move {
        match one {
            Some(shard) => execution.on_one(shard).await,
            None => {
                let held = transaction::acquire(&execution.hub, &parts).await;
                execution.hub = execution.hub.transaction();
                execution.held(held).await
            }
        }
    })
}

/// Where in the outputs the reply of a command is.
#[derive(Debug, Clone, Copy, Default)]
struct Portion {
    output: usize,
    from: (usize, usize),
    to: (usize, usize),
}

/// The commands of one shard between two barriers, by position.
type Batch = Vec<u32>;

/// What a batch has answered, and where each reply ends.
type BatchReply = (Output, Vec<(usize, usize)>);

struct Execution<E> {
    hub: Hub<E>,
    home: u16,
    shards: u16,
    transaction: Transaction,
    protocol: Protocol,
    /// What has not been sent yet, by shard.
    batches: Vec<(u16, Batch)>,
    /// Commands of the network layer that wait for them.
    at_once: Batch,
    outputs: Vec<Output>,
    /// By position.
    replies: Vec<Portion>,
    /// From which position on replies are left out, or not any more.
    silences: Vec<(usize, bool)>,
}

impl<E: Site> Execution<E> {
    /// Everything is on one shard: one call, which works when what it wants is free.
    async fn on_one(mut self, shard: u16) -> Output {
        let batch: Batch = (0..self.replies.len() as u32)
            .filter(|&at| matches!(self.transaction.queue.place(at as usize), Place::Shard(_)))
            .collect();
        let run = self.run(batch.clone());
        let (queue, watching) = (self.transaction.queue.clone(), self.transaction.watching.clone());
        let wanted = (queue.clone(), watching.clone());
        let (shards, now) = (self.shards, self.transaction.view.now);
        let done = transaction::on_one(
            &self.hub,
            shard,
            move |site: &mut E| wanted.0.wants(&site.shard().keys, wanted.1.as_deref()),
            move |site: &mut E| {
                make_room(site, &queue, &batch);
                if let Some(watching) = &watching {
                    let intact = is_intact(site, watching, now);
                    site.watched().forget(watching, shard, shards);
                    if !intact {
                        return None;
                    }
                }
                Some((run(site), batch))
            },
        )
        .await;
        let Some((reply, batch)) = done else { return self.null() };
        self.take(reply, &batch);
        for at in 0..self.replies.len() {
            if self.transaction.queue.place(at) == Place::AtOnce {
                self.at_once.push(at as u32);
            }
        }
        self.serve_at_once().await;
        self.assemble()
    }

    /// Everything is held.
    async fn held(mut self, held: Held) -> Output {
        if let Some(watching) = self.transaction.watching.clone() {
            let intact = self.is_intact(&watching).await;
            let shards = self.shards;
            for shard in watching.shards(shards) {
                let watching = watching.clone();
                drop(
                    self.hub.call(shard, move |site: &mut E| site.watched().forget(&watching, shard, shards)),
                );
            }
            if !intact {
                held.release(&self.hub.plain());
                return self.null();
            }
        }
        let queue = self.transaction.queue.clone();
        for at in 0..queue.len() {
            match queue.place(at) {
                Place::Shard(shard) => self.add(shard, at as u32),
                Place::AtOnce => self.at_once.push(at as u32),
                Place::Several => {
                    self.run_batches(None).await;
                    self.run_several(at, &queue.get(at)).await;
                }
                Place::Rounds => {
                    self.run_batches(None).await;
                    self.serve(at).await;
                }
                Place::Script { .. } => {
                    self.run_batches(None).await;
                    let view = View { db: queue.get(at).db, ..self.transaction.view };
                    let reply = (self.transaction.script)(at, view, self.protocol, self.hub.tag()).await;
                    self.take_one(reply, at);
                }
            }
        }
        self.run_batches(Some(held)).await;
        self.assemble()
    }

    /// Whether no watched key has changed, while all of them are held.
    async fn is_intact(&self, watching: &Arc<Watching>) -> bool {
        let now = self.transaction.view.now;
        if watching.is_doubtful() {
            for shard in watching.shards(self.shards) {
                let watching = watching.clone();
                if !self.hub.call(shard, move |site: &mut E| is_intact(site, &watching, now)).await {
                    return false;
                }
            }
        }
        watching.is_intact(now)
    }

    /// Adds a command to the batch of its shard.
    fn add(&mut self, shard: u16, at: u32) {
        match self.batches.iter_mut().find(|(of, _)| *of == shard) {
            Some((_, batch)) => batch.push(at),
            None => self.batches.push((shard, vec![at])),
        }
    }

    /// Runs what waits, the shards at the same time, some at a stretch. With what is held when there is nothing after it: it is given back on the way.
    async fn run_batches(&mut self, mut held: Option<Held>) {
        let mut batches: Vec<_> =
            self.batches.drain(..).map(|(shard, batch)| (shard, batch.into_iter())).collect();
        let whole = self.transaction.queue.len() <= EXEC_WHOLE_MAX;
        let stretch = if whole { EXEC_WHOLE_MAX } else { TURN_COMMANDS_MAX };
        let mut others_wait = false;
        while !batches.is_empty() {
            if std::mem::replace(&mut others_wait, true) {
                // What is for this shard runs at once: without a pause nothing else would, until the end.
                transaction::next_turn(&self.hub, self.home).await;
            }
            let mut running = Vec::with_capacity(batches.len());
            for (shard, rest) in &mut batches {
                let batch: Batch = rest.take(stretch).collect();
                let (run, queue, shared) =
                    (self.run(batch.clone()), self.transaction.queue.clone(), batch.clone());
                let work = move |site: &mut E| {
                    make_room(site, &queue, &shared);
                    run(site)
                };
                let call = match &mut held {
                    Some(held) if rest.len() == 0 && held.holds(*shard) => {
                        held.finish(&self.hub, *shard, work)
                    }
                    // Something comes after it, or its commands name no key: then they have an error for that.
                    _ => self.hub.call(*shard, work),
                };
                running.push((call, batch));
            }
            batches.retain(|(_, rest)| rest.len() > 0);
            for (call, batch) in running {
                let reply = call.await;
                self.take(reply, &batch);
            }
        }
        if let Some(held) = held {
            held.release(&self.hub);
        }
        self.serve_at_once().await;
    }

    /// What runs a batch on its shard.
    fn run(&self, batch: Batch) -> impl FnOnce(&mut E) -> BatchReply + Send + 'static {
        let Transaction { view, to, .. } = self.transaction;
        let (queue, home, protocol) = (self.transaction.queue.clone(), self.home, self.protocol);
        move |site| {
            let mut out = Output::default();
            let mut ends = Vec::with_capacity(batch.len());
            for at in batch {
                let Entry { command, argv, db, .. } = queue.get(at as usize);
                let applied = apply(site.shard(), command, View { db, ..view }, protocol, &argv, &mut out);
                site.ran(home, to, command, &applied, &argv);
                ends.push((out.buf.len(), out.shared.len()));
            }
            (out, ends)
        }
    }

    fn take(&mut self, (output, ends): BatchReply, batch: &[u32]) {
        let mut from = (0, 0);
        for (&at, to) in batch.iter().zip(ends) {
            self.replies[at as usize] = Portion { output: self.outputs.len(), from, to };
            from = to;
        }
        self.outputs.push(output);
    }

    fn take_one(&mut self, output: Output, at: usize) {
        let to = (output.buf.len(), output.shared.len());
        self.take((output, vec![to]), &[at as u32]);
    }

    /// A command over several shards, whose keys are held.
    async fn run_several(&mut self, at: usize, entry: &Entry<'_>) {
        let view = View { db: entry.db, ..self.transaction.view };
        let asked =
            several::Asked { command: entry.command, argv: &entry.argv, view, protocol: self.protocol };
        let mut reply = several::run_held(&self.hub, self.home, self.shards, asked).await;
        let error = reply.buf.strip_prefix(b"-").and_then(|text| text.split(|&b| b == b'\r').next());
        let error = error.map(Error::owned);
        let (queue, home, to) = (self.transaction.queue.clone(), self.home, self.transaction.to);
        let account = self.hub.call(home, move |site: &mut E| {
            let Entry { command, argv, .. } = queue.get(at);
            let applied = error.map_or(Applied::Replied, Applied::Failed);
            site.ran(home, to, command, &applied, &argv);
        });
        account.await;
        reply.seal();
        self.take_one(reply, at);
    }

    async fn serve_at_once(&mut self) {
        for at in std::mem::take(&mut self.at_once) {
            self.serve(at as usize).await;
        }
    }

    async fn serve(&mut self, at: usize) {
        let Served { reply, protocol, silent } = (self.transaction.serve)(at).await;
        self.protocol = protocol;
        if self.silences.last().is_some_and(|&(_, before)| before != silent) {
            self.silences.push((at, silent));
        }
        self.take_one(reply, at);
    }

    /// A watched key has changed.
    fn null(self) -> Output {
        let mut out = Output::default();
        if !self.transaction.silent {
            RespSink::new(&mut out, self.transaction.protocol).null_array();
        }
        out
    }

    /// All replies in the order of the commands.
    fn assemble(self) -> Output {
        let mut out = Output::default();
        let Transaction { protocol, mut silent, .. } = self.transaction;
        if !silent {
            RespSink::new(&mut out, protocol).array(self.replies.len());
        }
        let mut silences = self.silences.into_iter().peekable();
        for (at, portion) in self.replies.iter().enumerate() {
            while let Some((_, now)) = silences.next_if(|&(from, _)| from <= at) {
                silent = now;
            }
            if let (false, Some(output)) = (silent, self.outputs.get(portion.output)) {
                out.append_part(output, portion.from, portion.to);
            }
        }
        out
    }
}

/// Whether nothing that is watched has changed, as far as this site can see.
pub(crate) fn is_intact<E: Site>(site: &mut E, watching: &Watching, now: u64) -> bool {
    watching.is_intact(now) && (!watching.is_doubtful() || watch::is_as_watched(site, watching, now))
}

/// Frees memory for commands that are about to run, if it must.
fn make_room<E: Site>(site: &mut E, queue: &Queue, batch: &[u32]) {
    if !queue.has(Flags::DENYOOM) {
        return;
    }
    for &at in batch {
        let Entry { command, argv, .. } = queue.get(at as usize);
        site.make_room(command, &argv);
    }
}

/// Runs a queued command of a shard to its end. This is where a command that would block does not: it answers as if its time were over.
pub(crate) fn apply(
    shard: &mut kora_engine::shard::Shard,
    command: &'static Command,
    view: View,
    protocol: Protocol,
    argv: &[&[u8]],
    out: &mut Output,
) -> Applied {
    match shard.apply(view, command, argv, None, &mut RespSink::new(out, protocol)) {
        Applied::Later(work) => {
            several::run_to_end(work, shard, view.now, &mut RespSink::new(out, protocol));
            Applied::Replied
        }
        applied => applied,
    }
}

#[cfg(test)]
#[path = "multi/tests.rs"]
mod tests;

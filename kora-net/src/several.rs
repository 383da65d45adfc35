//! Commands whose keys are on several shards: each is a coordinator that holds its keys while it works, so that nobody sees half of it.

use crate::coordinate::{Hub, Task};
use crate::merge;
use crate::resp::encode::{Output, RespSink};
use crate::transaction::footprint::{self, Footprint};
use crate::transaction::locks::{Mode, Wants};
use crate::transaction::{self, Part, Site};
use crate::words::Words;
use kora_engine::args::{integer, is, parse_i64};
use kora_engine::check_read_group;
use kora_engine::command::{registry, Command, Coordinated, KeyFlags, Merge, Run, Spread};
use kora_engine::error::Error;
use kora_engine::exec::Continuation;
use kora_engine::keys_of::keys_of;
use kora_engine::keyspace::{NewExpiry, View};
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::{Applied, Shard};
use kora_engine::slot::Slot;
use kora_engine::table::{NewValue, ValueRef};
use kora_engine::value::Type;
use smallvec::SmallVec;

/// The coordinator of a command; its arguments have the right number, and its keys are on several shards.
pub fn task<E: Site>(home: &mut impl Home<E>, kind: Coordinated, asked: Asked<'_>) -> Task {
    let work = Work::new(home, &asked).with_arguments(asked.argv);
    let mut footprint = Footprint::new(work.shards);
    footprint.add_command(&home.shard().keys, asked.command, asked.argv);
    if reads_anywhere(asked.command, asked.argv) {
        footprint.add_everything(Mode::Shared);
    }
    let parts = footprint.parts();
    Box::pin(async move {
        let work = work.into_transaction();
        let held = transaction::acquire(&work.hub, &parts).await;
        let out = work.coordinated(kind).await;
        held.release(&work.hub);
        out
    })
}

/// Runs a command over several shards, or over all, of which everything that it wants is held already.
pub(crate) async fn run_held<E: Site>(hub: &Hub<E>, home: u16, shards: u16, asked: Asked<'_>) -> Output {
    let Asked { command, argv, view, protocol } = asked;
    let hub = hub.clone();
    let work = Work { hub, home, shards, command, view, protocol, argv: Vec::new() }.with_arguments(argv);
    match command.spec.run {
        Run::Keys(_, Spread::Split(merge)) => match shares(command, argv, shards, |_, _| {}) {
            Ok((parts, order)) => work.on_all(parts.into_iter(), merge, &order).await,
            Err(error) => work.refused(&error),
        },
        Run::Keys(_, Spread::Coordinate(kind)) => work.coordinated(kind).await,
        Run::Everywhere(_, merge) => {
            work.on_all((0..shards).map(|shard| (shard, work.words())), merge, &[]).await
        }
        _ => unreachable!("{} is no command of several shards", command.full_name),
    }
}

/// What each shard gets of a command that is split, and of each key in its order the number of its share, which `wanted` is told with
/// the key.
type Shares = (SmallVec<[(u16, Words); 4]>, Vec<u16>);

fn shares(
    command: &'static Command,
    argv: &[&[u8]],
    of_shards: u16,
    mut wanted: impl FnMut(usize, &[u8]),
) -> Result<Shares, Error> {
    let spec = command.spec.keys[0];
    let (first, step) = spec.fixed_range().expect("only ranges of keys are split");
    if !(argv.len() - first).is_multiple_of(step) {
        // Before anything is written anywhere.
        return Err(Error::wrong_arity(&command.full_name));
    }
    let mut order: Vec<u16> = Vec::with_capacity(argv.len() / step);
    let mut shares: SmallVec<[(u16, Words); 4]> = SmallVec::new();
    for at in spec.positions(argv) {
        let shard = Slot::of(argv[at]).shard(of_shards);
        let share = shares.iter().position(|(of, _)| *of == shard).unwrap_or_else(|| {
            shares.push((shard, Words::of(argv[..first].iter().copied())));
            shares.len() - 1
        });
        argv[at..(at + step).min(argv.len())].iter().for_each(|word| shares[share].1.push(word));
        wanted(share, argv[at]);
        order.push(share as u16);
    }
    Ok((shares, order))
}

/// The coordinator of a command that each shard executes with its own keys, and whose replies merge.
///
/// # Errors
/// The arguments do not go up in keys and what belongs to them.
pub fn split<E: Site>(home: &mut impl Home<E>, merge: Merge, asked: Asked<'_>) -> Result<Task, Error> {
    let Asked { command, argv, .. } = asked;
    let work = Work::new(home, &asked);
    let keys = &home.shard().keys;
    let mode = footprint::mode_of(command, command.spec.keys[0].flags);
    /// What is wanted of one shard.
    type ShardWants = SmallVec<[(u64, Mode); 8]>;
    let mut wants: SmallVec<[ShardWants; 4]> = SmallVec::new();
    let (shards, order) = shares(command, argv, work.shards, |share, key| {
        if share == wants.len() {
            wants.push(SmallVec::new());
        }
        wants[share].push((footprint::fingerprint(keys, key), mode));
    })?;
    let own = work.home;
    let work = work.into_transaction();
    Ok(Box::pin(async move {
        let (view, protocol) = (work.view, work.protocol);
        let run = move |words: Words| move |site: &mut E| run_part(site, command, &words, view, protocol);
        let mut parts: SmallVec<[(Part, Words); 4]> = shards
            .into_iter()
            .zip(wants)
            .map(|((shard, words), wants)| (Part { shard, wants: Wants::keys(wants) }, words))
            .collect();
        let mut replies: SmallVec<[Output; 4]> = SmallVec::new();
        if let [(a, _), (b, _)] = &parts[..] {
            if a.shard == own || b.shard == own {
                let own_first = a.shard == own;
                let ((b, b_words), (a, a_words)) = (parts.pop().expect("two"), parts.pop().expect("two"));
                let (own, other) = if own_first { (a, b) } else { (b, a) };
                let (own_words, other_words) =
                    if own_first { (a_words, b_words) } else { (b_words, a_words) };
                let (own, other) =
                    transaction::on_own_and_other(&work.hub, own, other, run(own_words), run(other_words))
                        .await;
                replies.extend(if own_first { [own, other] } else { [other, own] });
                return merge::merge(merge, &mut replies, &order);
            }
        }
        let wanted: Vec<Part> = parts.iter().map(|(part, _)| part.clone()).collect();
        let mut held = transaction::acquire(&work.hub, &wanted).await;
        let running: SmallVec<[_; 4]> =
            parts.into_iter().map(|(part, words)| held.finish(&work.hub, part.shard, run(words))).collect();
        for reply in running {
            replies.push(reply.await);
        }
        held.release(&work.hub);
        merge::merge(merge, &mut replies, &order)
    }))
}

/// The coordinator of a command that every shard executes, all at one moment.
pub fn everywhere<E: Site>(home: &mut impl Home<E>, merge: Merge, asked: Asked<'_>) -> Task {
    let work = Work::new(home, &asked).with_arguments(asked.argv);
    let mut footprint = Footprint::new(work.shards);
    footprint.add_command(&home.shard().keys, asked.command, asked.argv);
    let command = asked.command;
    let work = work.into_transaction();
    Box::pin(async move {
        let mut held = transaction::acquire(&work.hub, &footprint.parts()).await;
        let (view, protocol) = (work.view, work.protocol);
        let running: Vec<_> = (0..work.shards)
            .map(|shard| {
                let words = work.words();
                held.finish(&work.hub, shard, move |site: &mut E| {
                    run_part(site, command, &words, view, protocol)
                })
            })
            .collect();
        let mut replies = Vec::with_capacity(running.len());
        for reply in running {
            replies.push(reply.await);
        }
        held.release(&work.hub);
        merge::merge(merge, &mut replies, &[])
    })
}

/// A command as a connection asks for it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its row.
    pub command: &'static Command,
    /// Its arguments.
    pub argv: &'a [&'a [u8]],
    /// Database, time and access flags.
    pub view: View,
    /// How the reply is encoded.
    pub protocol: Protocol,
}

/// Where a coordinator is at home.
pub trait Home<E: Site> {
    /// The executor's number.
    fn number(&self) -> u16;
    /// How many executors there are.
    fn shards(&self) -> u16;
    /// How it reaches all of them.
    fn hub(&self) -> Hub<E>;
    /// The shard of the same site.
    fn shard(&mut self) -> &mut Shard;
}

/// A command in the hands of its coordinator.
pub(crate) struct Work<E> {
    hub: Hub<E>,
    home: u16,
    shards: u16,
    command: &'static Command,
    view: View,
    protocol: Protocol,
    argv: Vec<Vec<u8>>,
}

impl<E: Site> Work<E> {
    /// A command that is about to be coordinated.
    pub(crate) fn new(home: &mut impl Home<E>, asked: &Asked<'_>) -> Work<E> {
        Work {
            hub: home.hub(),
            home: home.number(),
            shards: home.shards(),
            command: asked.command,
            view: asked.view,
            protocol: asked.protocol,
            argv: Vec::new(),
        }
    }

    /// How it reaches the shards.
    pub(crate) fn hub(&self) -> &Hub<E> {
        &self.hub
    }

    /// The executor on which it is coordinated.
    pub(crate) fn home(&self) -> u16 {
        self.home
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// Whether a key holds a list.
    pub(crate) async fn is_list(&self, key: &[u8]) -> bool {
        self.kind_of(key).await == Some(Type::List)
    }

    /// As one unit of the log, if it writes.
    pub(crate) fn into_transaction(self) -> Work<E> {
        let hub = if self.command.is_write() { self.hub.transaction() } else { self.hub.clone() };
        Work { hub, ..self }
    }

    /// With its arguments, which commands that are split do not need as a whole.
    pub(crate) fn with_arguments(self, argv: &[&[u8]]) -> Work<E> {
        Work { argv: argv.iter().map(|arg| arg.to_vec()).collect(), ..self }
    }

    /// Runs its share on each of these shards, which are held.
    async fn on_all(
        &self,
        shares: impl Iterator<Item = (u16, Words)>,
        merge: Merge,
        order: &[u16],
    ) -> Output {
        let (command, view, protocol) = (self.command, self.view, self.protocol);
        let running: SmallVec<[_; 4]> = shares
            .map(|(shard, words)| {
                self.hub.call(shard, move |site: &mut E| run_part(site, command, &words, view, protocol))
            })
            .collect();
        let mut replies = Vec::with_capacity(running.len());
        for reply in running {
            replies.push(reply.await);
        }
        merge::merge(merge, &mut replies, order)
    }

    /// The reply of a command whose keys are held.
    async fn coordinated(&self, kind: Coordinated) -> Output {
        let mut out = Output::default();
        match self.run_held(kind, &mut out).await {
            Ok(()) => out,
            Err(error) => self.refused(&error),
        }
    }

    /// An error as the reply.
    fn refused(&self, error: &Error) -> Output {
        let mut out = Output::default();
        self.reply(&mut out).error(error.text());
        out
    }

    /// The rounds of a command whose keys are held.
    pub(crate) async fn run_held(&self, kind: Coordinated, out: &mut Output) -> Result<(), Error> {
        match kind {
            Coordinated::MsetNx => self.mset_nx(out).await,
            Coordinated::Rename => self.rename(false, out).await,
            Coordinated::RenameNx => self.rename(true, out).await,
            Coordinated::Copy => self.copy(out).await,
            Coordinated::Lcs => self.lcs(out).await,
            Coordinated::Fetch => self.fetch(Vec::new(), out).await,
            Coordinated::Sort => self.sort(out).await,
            Coordinated::MoveElement => self.move_element(out).await,
            Coordinated::MoveMember => self.move_member(out).await,
            Coordinated::FirstOf => self.first_of(out).await,
            Coordinated::PerStream => self.per_stream(out).await,
        }
    }

    fn words(&self) -> Words {
        Words::of(self.argv.iter().map(|arg| &arg[..]))
    }

    fn owner(&self, key: &[u8]) -> u16 {
        Slot::of(key).shard(self.shards)
    }

    fn reply<'o>(&self, out: &'o mut Output) -> RespSink<'o> {
        RespSink::new(out, self.protocol)
    }

    async fn exists(&self, view: View, key: Vec<u8>) -> bool {
        let owner = self.owner(&key);
        self.hub
            .call(owner, move |site: &mut E| {
                let key = site.shard().keys.key(&key);
                site.shard().keys.exists(view, &key)
            })
            .await
    }

    async fn mset_nx(&self, out: &mut Output) -> Result<(), Error> {
        if self.argv.len().is_multiple_of(2) {
            return Err(Error::wrong_arity("msetnx"));
        }
        let view = self.view;
        let checks: Vec<_> = self.argv[1..]
            .chunks(2)
            .map(|pair| {
                let key = pair[0].clone();
                self.hub.call(self.owner(&key), move |site: &mut E| {
                    let key = site.shard().keys.key(&key);
                    site.shard().keys.exists(view, &key)
                })
            })
            .collect();
        let mut any = false;
        for check in checks {
            any |= check.await;
        }
        if any {
            self.reply(out).integer(0);
            return Ok(());
        }
        let writes: Vec<_> = self.argv[1..]
            .chunks(2)
            .map(|pair| {
                let (key, value) = (pair[0].clone(), pair[1].clone());
                self.hub.call(self.owner(&key), move |site: &mut E| {
                    let keys = &mut site.shard().keys;
                    let key = keys.key(&key);
                    let value = match parse_i64(&value) {
                        Some(number) => NewValue::Int(number),
                        None => NewValue::Bytes(&value),
                    };
                    keys.set(view, &key, value, NewExpiry::Clear);
                })
            })
            .collect();
        for write in writes {
            write.await;
        }
        self.reply(out).integer(1);
        Ok(())
    }

    async fn rename(&self, only_new: bool, out: &mut Output) -> Result<(), Error> {
        let (from, to, view) = (self.argv[1].clone(), self.argv[2].clone(), self.view);
        if only_new {
            if !self.exists(view, from.clone()).await {
                return Err(Error::NO_SUCH_KEY);
            }
            if self.exists(view, to.clone()).await {
                self.reply(out).integer(0);
                return Ok(());
            }
        }
        let taken = self
            .hub
            .call(self.owner(&from), move |site: &mut E| {
                let key = site.shard().keys.key(&from);
                site.shard().keys.take(view, &key)
            })
            .await;
        let entry = taken.ok_or(Error::NO_SUCH_KEY)?;
        self.hub
            .call(self.owner(&to), move |site: &mut E| {
                let key = site.shard().keys.key(&to);
                site.shard().keys.put(view, &key, entry);
            })
            .await;
        if only_new {
            self.reply(out).integer(1);
        } else {
            self.reply(out).ok();
        }
        Ok(())
    }

    async fn copy(&self, out: &mut Output) -> Result<(), Error> {
        let (from, to) = (self.argv[1].clone(), self.argv[2].clone());
        let mut target = self.view;
        let mut replace = false;
        let mut at = 3;
        while at < self.argv.len() {
            if is(&self.argv[at], "replace") {
                replace = true;
            } else if is(&self.argv[at], "db") && at + 1 < self.argv.len() {
                let databases = self.hub.call(0, |site: &mut E| site.shard().keys.databases()).await;
                let db = integer(&self.argv[at + 1])?;
                target.db = u16::try_from(db).ok().filter(|db| *db < databases).ok_or(Error::DB_INDEX)?;
                at += 1;
            } else {
                return Err(Error::SYNTAX);
            }
            at += 1;
        }
        let view = self.view;
        let copied = self
            .hub
            .call(self.owner(&from), move |site: &mut E| {
                let key = site.shard().keys.key(&from);
                site.shard().keys.copy_of(view, &key)
            })
            .await;
        let Some(entry) = copied else {
            self.reply(out).integer(0);
            return Ok(());
        };
        let done = self
            .hub
            .call(self.owner(&to), move |site: &mut E| {
                let keys = &mut site.shard().keys;
                let key = keys.key(&to);
                if !replace && keys.exists(target, &key) {
                    return false;
                }
                keys.put(target, &key, entry);
                true
            })
            .await;
        self.reply(out).integer(done as i64);
        Ok(())
    }

    async fn lcs(&self, out: &mut Output) -> Result<(), Error> {
        let view = self.view;
        let read = |key: &Vec<u8>| {
            let key = key.clone();
            self.hub.call(self.owner(&key), move |site: &mut E| {
                let max = site.shard().config.max_string_len;
                let key = site.shard().keys.key(&key);
                let entry =
                    site.shard().keys.get_string(view, &key).map_err(|_| kora_engine::lcs::NOT_STRINGS)?;
                let text = match entry.map(|entry| entry.value()) {
                    None => Vec::new(),
                    Some(ValueRef::Int(number)) => number.to_string().into_bytes(),
                    Some(ValueRef::Bytes(bytes)) => bytes.to_vec(),
                    Some(ValueRef::Shared(bytes)) => bytes.to_vec(),
                    Some(ValueRef::Object(_)) => unreachable!("it is a string"),
                };
                Ok::<_, Error>((text, max))
            })
        };
        let (a, b) = (read(&self.argv[1]), read(&self.argv[2]));
        let ((a, max), (b, _)) = (a.await?, b.await?);
        let options: Vec<&[u8]> = self.argv[3..].iter().map(|arg| &arg[..]).collect();
        let options = kora_engine::lcs::Options::parse(&options)?;
        kora_engine::lcs::answer(&a, &b, options, max, &mut self.reply(out))
    }

    /// Runs a command on a shard, to its end; the encoded reply.
    async fn run(&self, owner: u16, argv: Vec<Vec<u8>>) -> Output {
        let (view, protocol) = (self.view, self.protocol);
        self.hub.call(owner, move |site: &mut E| run_whole(site.shard(), view, protocol, &argv)).await
    }

    /// The keys that are on other shards come as guests to the shard of the key that is written, or of the first one. `others` are
    /// keys that the command reads besides those in its arguments.
    async fn fetch(&self, others: Vec<Vec<u8>>, out: &mut Output) -> Result<(), Error> {
        let argv: Vec<&[u8]> = self.argv.iter().map(|arg| &arg[..]).collect();
        let keys = keys_of(self.command, &argv).ok_or(Error::SYNTAX)?;
        // Of several destinations, which GEORADIUS can name, the last one is written.
        let written = keys.iter().filter(|key| !key.flags.contains(KeyFlags::RO)).max_by_key(|key| key.index);
        let written = written.unwrap_or(&keys[0]);
        let home = self.owner(argv[written.index]);
        let mut names: Vec<Vec<u8>> = keys.iter().map(|key| argv[key.index].to_vec()).chain(others).collect();
        names.sort_unstable();
        names.dedup();
        let mut by_owner: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.shards as usize];
        for name in names {
            by_owner[self.owner(&name) as usize].push(name);
        }
        let view = self.view;
        let copies: Vec<_> = by_owner
            .into_iter()
            .enumerate()
            .filter(|(owner, names)| *owner != home as usize && !names.is_empty())
            .map(|(owner, names)| {
                self.hub.call(owner as u16, move |site: &mut E| {
                    let keys = &mut site.shard().keys;
                    let copy =
                        |name: Vec<u8>| keys.copy_of(view, &keys.key(&name)).map(|entry| (name, entry));
                    names.into_iter().filter_map(copy).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut guests = Vec::new();
        for copy in copies {
            guests.extend(copy.await);
        }
        let (argv, protocol) = (self.argv.clone(), self.protocol);
        let mut reply = self
            .hub
            .call(home, move |site: &mut E| {
                let shard = site.shard();
                let mut names = Vec::with_capacity(guests.len());
                for (name, entry) in guests {
                    shard.keys.admit_guest(view.db, &shard.keys.key(&name), entry);
                    names.push(name);
                }
                let reply = run_whole(shard, view, protocol, &argv);
                for name in names {
                    shard.keys.dismiss_guest(view.db, &shard.keys.key(&name));
                }
                reply
            })
            .await;
        out.append(&mut reply);
        Ok(())
    }

    /// SORT: the keys that its BY and GET patterns make of the elements are read, wherever they are.
    async fn sort(&self, out: &mut Output) -> Result<(), Error> {
        let key = &self.argv[1];
        let patterns = sort_patterns(&self.argv);
        let all: &[&[u8]] = match self.kind_of(key).await {
            Some(Type::List) => &[b"LRANGE", b"0", b"-1"],
            Some(Type::Zset) => &[b"ZRANGE", b"0", b"-1"],
            Some(Type::Set) => &[b"SMEMBERS"],
            // SORT itself has the words for the others.
            _ => return self.fetch(Vec::new(), out).await,
        };
        let mut ask = vec![all[0].to_vec(), key.clone()];
        ask.extend(all[1..].iter().map(|arg| arg.to_vec()));
        let elements = self.run(self.owner(key), ask).await.flatten();
        let mut names = Vec::new();
        for element in bulks_of(&elements) {
            for &(before, after) in &patterns {
                names.push([before, element, after].concat());
            }
        }
        self.fetch(names, out).await
    }

    /// The type of a key's value, if there is one.
    async fn kind_of(&self, key: &[u8]) -> Option<Type> {
        let (view, key) = (self.view, key.to_vec());
        self.hub
            .call(self.owner(&key), move |site: &mut E| {
                let keys = &mut site.shard().keys;
                keys.peek(view, &keys.key(&key)).map(|entry| entry.value().kind())
            })
            .await
    }

    /// LMOVE source destination LEFT|RIGHT LEFT|RIGHT, and RPOPLPUSH source destination; the blocking ones have a time-out besides.
    async fn move_element(&self, out: &mut Output) -> Result<(), Error> {
        let (from, to) = (&self.argv[1], &self.argv[2]);
        let side = |index: usize| match &self.argv[index] {
            word if is(word, "left") => Ok(true),
            word if is(word, "right") => Ok(false),
            _ => Err(Error::SYNTAX),
        };
        let (from_left, to_left) = if self.argv.len() < 5 { (false, true) } else { (side(3)?, side(4)?) };
        let argv: Vec<&[u8]> = self.argv.iter().map(|arg| &arg[..]).collect();
        kora_engine::blocking::check(self.command, &argv, self.view.now)?;
        match self.kind_of(from).await {
            None => {
                self.reply(out).null();
                return Ok(());
            }
            Some(Type::List) => {}
            Some(_) => return Err(Error::WRONG_TYPE),
        }
        if self.kind_of(to).await.is_some_and(|kind| kind != Type::List) {
            return Err(Error::WRONG_TYPE);
        }
        let pop: &[u8] = if from_left { b"LPOP" } else { b"RPOP" };
        let mut popped = self.run(self.owner(from), vec![pop.to_vec(), from.clone()]).await;
        let popped = popped.flatten();
        if let Some(element) = bulk_of(&popped) {
            let push: &[u8] = if to_left { b"LPUSH" } else { b"RPUSH" };
            self.run(self.owner(to), vec![push.to_vec(), to.clone(), element.to_vec()]).await;
        }
        out.buf.extend_from_slice(&popped);
        Ok(())
    }

    /// SMOVE source destination member.
    async fn move_member(&self, out: &mut Output) -> Result<(), Error> {
        let (from, to, member) = (&self.argv[1], &self.argv[2], &self.argv[3]);
        match self.kind_of(from).await {
            None => {
                self.reply(out).integer(0);
                return Ok(());
            }
            Some(Type::Set) => {}
            Some(_) => return Err(Error::WRONG_TYPE),
        }
        if self.kind_of(to).await.is_some_and(|kind| kind != Type::Set) {
            return Err(Error::WRONG_TYPE);
        }
        let remove = vec![b"SREM".to_vec(), from.clone(), member.clone()];
        let removed = self.run(self.owner(from), remove).await.flatten() == b":1\r\n";
        if removed {
            self.run(self.owner(to), vec![b"SADD".to_vec(), to.clone(), member.clone()]).await;
        }
        self.reply(out).integer(removed as i64);
        Ok(())
    }

    /// LMPOP and ZMPOP: numkeys key [key ...] and the rest; and blocking commands that take from the first of their keys.
    async fn first_of(&self, out: &mut Output) -> Result<(), Error> {
        let argv: Vec<&[u8]> = self.argv.iter().map(|arg| &arg[..]).collect();
        let keys = keys_of(self.command, &argv).ok_or(Error::SYNTAX)?;
        let rest = keys[keys.len() - 1].index + 1;
        if rest >= argv.len() {
            // The words after the keys were taken for keys: any shard has the error for it.
            let reply = self.run(self.owner(argv[keys[0].index]), self.argv.clone()).await.flatten();
            out.buf.extend_from_slice(&reply);
            return Ok(());
        }
        for key in &keys {
            let mut number = itoa::Buffer::new();
            let one = kora_engine::blocking::only(self.command, &argv, |at| at == key.index, &mut number);
            let one = one.into_iter().map(<[u8]>::to_vec).collect();
            let reply = self.run(self.owner(argv[key.index]), one).await.flatten();
            if !is_null(&reply) {
                out.buf.extend_from_slice(&reply);
                return Ok(());
            }
        }
        self.reply(out).null_array();
        Ok(())
    }

    /// XREAD and XREADGROUP: options STREAMS key [key ...] id [id ...].
    async fn per_stream(&self, out: &mut Output) -> Result<(), Error> {
        let argv: Vec<&[u8]> = self.argv.iter().map(|arg| &arg[..]).collect();
        let keys = keys_of(self.command, &argv).ok_or(Error::SYNTAX)?;
        let first = keys[0].index;
        let count = keys.len();
        if argv.len() != first + 2 * count {
            // Not as many ids as keys: any shard has the words for it.
            let reply = self.run(self.owner(argv[first]), self.argv.clone()).await.flatten();
            out.buf.extend_from_slice(&reply);
            return Ok(());
        }
        let one_stream = |at: usize| -> Vec<Vec<u8>> {
            let one = argv[..first].iter().chain([&argv[at], &argv[at + count]]);
            one.map(|arg| arg.to_vec()).collect()
        };
        if self.command.is_write() {
            // XREADGROUP delivers nothing when it is refused for one of its streams.
            for (at, key) in argv.iter().enumerate().skip(first).take(count) {
                let (view, command, one) = (self.view, self.command, one_stream(at));
                let check = move |site: &mut E| {
                    let argv: Vec<&[u8]> = one.iter().map(|arg| &arg[..]).collect();
                    check_read_group(site.shard(), view, command, &argv)
                };
                self.hub.call(self.owner(key), check).await?;
            }
        }
        let mut found = Vec::new();
        let mut elements = 0;
        for (at, key) in argv.iter().enumerate().skip(first).take(count) {
            let reply = self.run(self.owner(key), one_stream(at)).await.flatten();
            if reply.first() == Some(&b'-') {
                out.buf.extend_from_slice(&reply);
                return Ok(());
            }
            if !is_null(&reply) {
                // An array or a map of one element: what follows its header.
                let header = memchr::memchr(b'\n', &reply).map_or(reply.len(), |end| end + 1);
                found.extend_from_slice(&reply[header..]);
                elements += 1;
            }
        }
        match (elements, self.protocol) {
            (0, _) => self.reply(out).null_array(),
            (n, Protocol::Resp2) => self.reply(out).array(n),
            (n, Protocol::Resp3) => self.reply(out).map(n),
        }
        out.buf.extend_from_slice(&found);
        Ok(())
    }
}

/// A part of a command on one shard, to its end.
fn run_part<E: Site>(
    site: &mut E,
    command: &'static Command,
    words: &Words,
    view: View,
    protocol: Protocol,
) -> Output {
    let argv = words.argv();
    site.make_room(command, &argv);
    let mut out = Output::default();
    apply_whole(site.shard(), command, view, protocol, &argv, &mut out);
    out
}

/// Slice in which work is done that is not to be interrupted, in segments of the table.
const WHOLE: usize = 1 << 20;

/// Runs a command of a shard to its end at once, sliced work included.
fn run_whole(shard: &mut Shard, view: View, protocol: Protocol, argv: &[Vec<u8>]) -> Output {
    let argv: Vec<&[u8]> = argv.iter().map(|arg| &arg[..]).collect();
    let mut out = Output::default();
    match registry().resolve(&argv) {
        Err(error) => RespSink::new(&mut out, protocol).error(error.text()),
        Ok(command) => apply_whole(shard, command, view, protocol, &argv, &mut out),
    }
    out
}

/// The same for a command that is known; its reply is added to `out`.
pub(crate) fn apply_whole(
    shard: &mut Shard,
    command: &'static Command,
    view: View,
    protocol: Protocol,
    argv: &[&[u8]],
    out: &mut Output,
) {
    if let Applied::Later(work) = shard.apply(view, command, argv, None, &mut RespSink::new(out, protocol)) {
        run_to_end(work, shard, view.now, &mut RespSink::new(out, protocol));
    }
}

/// Goes on with sliced work until it is done.
pub(crate) fn run_to_end(
    mut work: Box<dyn Continuation>,
    shard: &mut Shard,
    now: u64,
    reply: &mut dyn Reply,
) {
    while !work.resume(shard, now, WHOLE, reply) {}
}

/// The content of an encoded bulk string.
fn bulk_of(encoded: &[u8]) -> Option<&[u8]> {
    let line = memchr::memchr(b'\n', encoded)? + 1;
    if encoded.first() != Some(&b'$') || encoded[1] == b'-' {
        return None;
    }
    encoded.get(line..encoded.len().checked_sub(2)?)
}

/// The contents of the bulk strings of an encoded array or set.
fn bulks_of(encoded: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest =
        memchr::memchr(b'\n', encoded).map_or(&encoded[encoded.len()..], |end| &encoded[end + 1..]);
    std::iter::from_fn(move || {
        let line = memchr::memchr(b'\r', rest)?;
        let len = usize::try_from(parse_i64(&rest[1..line])?).ok()?;
        let element = rest.get(line + 2..line + 2 + len)?;
        rest = &rest[line + 2 + len + 2..];
        Some(element)
    })
}

/// Whether a command reads keys that are seen only in the elements that it sorts, and so on whatever shards.
pub fn reads_anywhere(command: &Command, argv: &[&[u8]]) -> bool {
    matches!(command.spec.run, Run::Keys(_, Spread::Coordinate(Coordinated::Sort)))
        && !sort_patterns(argv).is_empty()
}

/// The BY and GET patterns of SORT that name keys, each as what stands before its `*` and what follows, without the hash field.
pub fn sort_patterns<T: AsRef<[u8]>>(argv: &[T]) -> Vec<(&[u8], &[u8])> {
    let mut patterns = Vec::new();
    let mut at = 2;
    while at < argv.len() {
        let word = argv[at].as_ref();
        at += match () {
            _ if is(word, "limit") => 3,
            _ if is(word, "by") || is(word, "get") => {
                if let Some(pattern) = argv.get(at + 1).map(AsRef::as_ref) {
                    if let Some(star) = memchr::memchr(b'*', pattern) {
                        let after = &pattern[star + 1..];
                        // A field follows the arrow, unless nothing does.
                        let arrow = after.windows(2).position(|pair| pair == b"->");
                        let end = arrow.filter(|&arrow| arrow + 2 < after.len()).unwrap_or(after.len());
                        patterns.push((&pattern[..star], &after[..end]));
                    }
                }
                2
            }
            _ if is(word, "store") => 2,
            _ => 1,
        };
    }
    patterns
}

/// Whether an encoded reply is the absence of one, in either protocol.
pub(crate) fn is_null(encoded: &[u8]) -> bool {
    matches!(encoded, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_sort_name_keys() {
        let argv: Vec<&[u8]> =
            b"sort k by w_*->f limit 0 5 get # get o_*_x get plain get a*-> get *->f store d alpha"
                .split(|&b| b == b' ')
                .collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"w_", b""), (b"o_", b"_x"), (b"a", b"->"), (b"", b"")];
        assert_eq!(sort_patterns(&argv), expected);
    }

    #[test]
    fn bulk_strings_are_taken_out_of_replies() {
        let elements: Vec<&[u8]> = bulks_of(b"*3\r\n$1\r\na\r\n$0\r\n\r\n$2\r\n\r\n\r\n").collect();
        assert_eq!(elements, [&b"a"[..], b"", b"\r\n"]);
        assert_eq!(bulks_of(b"*0\r\n").count(), 0);
        assert_eq!(bulk_of(b"$3\r\nabc\r\n"), Some(&b"abc"[..]));
        assert_eq!((bulk_of(b"$-1\r\n"), bulk_of(b"-ERR x\r\n")), (None, None));
    }
}

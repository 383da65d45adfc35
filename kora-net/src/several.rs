//! Commands whose keys are on several shards and that need more than one round: each is a coordinator.
//!
//! Their atomicity is a matter of transactions between shards, which have their place in the protocol
//! ([`crate::mail::RequestHead::transaction`]); until then a reader on another shard may see the rounds.

use crate::coordinate::Task;
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use kora_engine::args::{integer, is, parse_i64};
use kora_engine::command::Coordinated;
use kora_engine::error::Error;
use kora_engine::keyspace::{NewExpiry, View};
use kora_engine::reply::{Protocol, Reply};
use kora_engine::slot::Slot;
use kora_engine::table::{NewValue, ValueRef};

/// The coordinator of a command; its arguments have the right number, and its keys are on several shards.
pub fn task(
    executor: &mut Executor,
    kind: Coordinated,
    argv: &[&[u8]],
    view: View,
    protocol: Protocol,
) -> Task {
    let argv: Vec<Vec<u8>> = argv.iter().map(|arg| arg.to_vec()).collect();
    let work = Work { hub: executor.hub.clone(), shards: executor.count, view, protocol, argv };
    Box::pin(async move {
        let protocol = work.protocol;
        let mut out = Output::default();
        let result = match kind {
            Coordinated::MsetNx => work.mset_nx(&mut out).await,
            Coordinated::Rename => work.rename(false, &mut out).await,
            Coordinated::RenameNx => work.rename(true, &mut out).await,
            Coordinated::Copy => work.copy(&mut out).await,
            Coordinated::Lcs => work.lcs(&mut out).await,
        };
        if let Err(error) = result {
            out.clear();
            RespSink::new(&mut out, protocol).error(error.text());
        }
        out
    })
}

struct Work {
    hub: crate::coordinate::Hub,
    shards: u16,
    view: View,
    protocol: Protocol,
    argv: Vec<Vec<u8>>,
}

impl Work {
    fn owner(&self, key: &[u8]) -> u16 {
        Slot::of(key).shard(self.shards)
    }

    fn reply<'o>(&self, out: &'o mut Output) -> RespSink<'o> {
        RespSink::new(out, self.protocol)
    }

    async fn exists(&self, view: View, key: Vec<u8>) -> bool {
        let owner = self.owner(&key);
        self.hub
            .call(owner, move |executor| {
                let key = executor.shard.keys.key(&key);
                executor.shard.keys.exists(view, &key)
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
                self.hub.call(self.owner(&key), move |executor| {
                    let key = executor.shard.keys.key(&key);
                    executor.shard.keys.exists(view, &key)
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
                self.hub.call(self.owner(&key), move |executor| {
                    let keys = &mut executor.shard.keys;
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
            .call(self.owner(&from), move |executor| {
                let key = executor.shard.keys.key(&from);
                executor.shard.keys.take(view, &key)
            })
            .await;
        let entry = taken.ok_or(Error::NO_SUCH_KEY)?;
        self.hub
            .call(self.owner(&to), move |executor| {
                let key = executor.shard.keys.key(&to);
                executor.shard.keys.put(view, &key, entry);
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
                let databases = self.hub.call(0, |executor| executor.shard.keys.databases()).await;
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
            .call(self.owner(&from), move |executor| {
                let key = executor.shard.keys.key(&from);
                executor.shard.keys.copy_of(view, &key)
            })
            .await;
        let Some(entry) = copied else {
            self.reply(out).integer(0);
            return Ok(());
        };
        let done = self
            .hub
            .call(self.owner(&to), move |executor| {
                let keys = &mut executor.shard.keys;
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
        let options: Vec<&[u8]> = self.argv[3..].iter().map(|arg| &arg[..]).collect();
        let options = kora_engine::lcs::Options::parse(&options)?;
        let view = self.view;
        let read = |key: &Vec<u8>| {
            let key = key.clone();
            self.hub.call(self.owner(&key), move |executor| {
                let max = executor.shard.config.max_string_len;
                let key = executor.shard.keys.key(&key);
                let text = match executor.shard.keys.get(view, &key).map(|entry| entry.value()) {
                    None => Vec::new(),
                    Some(ValueRef::Int(number)) => number.to_string().into_bytes(),
                    Some(ValueRef::Bytes(bytes)) => bytes.to_vec(),
                    Some(ValueRef::Shared(bytes)) => bytes.to_vec(),
                };
                (text, max)
            })
        };
        let (a, b) = (read(&self.argv[1]), read(&self.argv[2]));
        let ((a, max), (b, _)) = (a.await, b.await);
        kora_engine::lcs::answer(&a, &b, options, max, &mut self.reply(out))
    }
}

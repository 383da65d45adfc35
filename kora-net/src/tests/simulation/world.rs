//! All simulated executors and clients, and what happens next.

use super::log::{self, Log};
use super::site::{Mail, SimulatedSite};
use crate::resp::encode::Output;
use fastrand::Rng;
use kora_check::command::Reply;
use kora_check::history::{History, Outcome};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

/// What kind of a world it is.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub shards: Range<u16>,
    pub clients: Range<usize>,
    /// Requests of each client.
    pub requests: Range<usize>,
    /// How many keys there are of each kind.
    pub keys: usize,
    /// What clients ask for.
    pub kinds: &'static [&'static str],
    /// How many of a hundred requests are transactions of several commands.
    pub transactions: u32,
}

struct Client {
    executor: u16,
    requests: VecDeque<Request>,
    /// What it has asked for and when, while it waits.
    waiting: Option<(u64, Request)>,
}

/// A command, or several between MULTI and EXEC.
type Request = Vec<Vec<Vec<u8>>>;

/// The way from one executor to another: what is asked and comes late, and what is answered at once.
struct Link {
    from: u16,
    to: u16,
    mail: VecDeque<Mail>,
    /// How likely it is that something arrives, compared with other things that may happen.
    weight: u32,
}

pub struct World {
    random: Rng,
    clock: u64,
    sites: Vec<SimulatedSite>,
    links: Vec<Link>,
    clients: Vec<Client>,
    history: History,
    log: Option<Log>,
}

enum Event {
    GoOn(usize),
    Arrive(usize),
    Ask(usize),
}

impl World {
    pub fn new(seed: u64, scenario: &Scenario) -> World {
        let mut random = Rng::with_seed(seed);
        let shards = random.u16(scenario.shards.clone());
        let log = (seed % 2 == 1).then(|| Log { shard: 0, lines: Rc::default(), tag: Rc::default() });
        let log_of = |shard| log.as_ref().map(|log| log.of_shard(shard));
        let sites = (0..shards).map(|id| SimulatedSite::new(id, shards, log_of(id))).collect();
        let mut links = Vec::new();
        for from in 0..shards {
            for to in (0..shards).filter(|&to| to != from) {
                // Two streams; see `Mail::is_answer`. Some links are a hundred times slower than others.
                for _ in 0..2 {
                    let weight = if random.bool() { 100 } else { [1, 10][random.usize(0..2)] };
                    links.push(Link { from, to, mail: VecDeque::new(), weight });
                }
            }
        }
        let count = random.usize(scenario.clients.clone());
        let mut values = 0;
        let clients = (0..count)
            .map(|_| {
                let requests = random.usize(scenario.requests.clone());
                let requests = (0..requests).map(|_| request(&mut random, scenario, &mut values)).collect();
                Client { executor: random.u16(0..shards), requests, waiting: None }
            })
            .collect();
        World { random, clock: 0, sites, links, clients, history: History::new(), log }
    }

    /// Runs until nothing is left that may happen.
    pub fn run(&mut self) -> Result<(), String> {
        while let Some(event) = self.next() {
            self.clock += 1;
            match event {
                Event::GoOn(site) => self.sites[site].go_on(),
                Event::Arrive(link) => {
                    let link = &mut self.links[link];
                    let mail = link.mail.pop_front().expect("chosen because it has some");
                    self.sites[link.to as usize].receive(link.from, mail);
                }
                Event::Ask(number) => {
                    let client = &mut self.clients[number];
                    let request = client.requests.pop_front().expect("chosen because it has some");
                    client.waiting = Some((self.clock, request.clone()));
                    let site = &mut self.sites[client.executor as usize];
                    match &request[..] {
                        [words] => site.ask(number as u32, words),
                        commands => site.ask_transaction(number as u32, commands),
                    }
                }
            }
            self.collect()?;
        }
        for (number, client) in self.clients.iter().enumerate() {
            if let Some((_, request)) = &client.waiting {
                let commands: Vec<String> = request.iter().map(|words| text(words)).collect();
                return Err(format!("client {number} waits for ever for {}", commands.join("; ")));
            }
        }
        if let Some(site) = self.sites.iter().position(|site| !site.is_idle()) {
            return Err(format!("executor {site} still holds something"));
        }
        if let Some(log) = &self.log {
            log::check(&log.lines.borrow())?;
        }
        kora_check::linearizability::check(&self.history).map_err(|violation| {
            let whole: Vec<String> =
                (0..self.history.operations().len()).map(|at| self.history.line(at)).collect();
            format!("{violation}\nthe whole history:\n{}", whole.join("\n"))
        })
    }

    fn next(&mut self) -> Option<Event> {
        let mut events: Vec<(u32, Event)> = Vec::new();
        for (number, site) in self.sites.iter().enumerate() {
            if site.is_ready() {
                events.push((50, Event::GoOn(number)));
            }
        }
        for (number, link) in self.links.iter().enumerate() {
            if !link.mail.is_empty() {
                events.push((link.weight, Event::Arrive(number)));
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            if client.waiting.is_none() && !client.requests.is_empty() {
                events.push((20, Event::Ask(number)));
            }
        }
        let total: u32 = events.iter().map(|(weight, _)| weight).sum();
        let mut at = if total > 0 { self.random.u32(0..total) } else { return None };
        for (weight, event) in events {
            if at < weight {
                return Some(event);
            }
            at -= weight;
        }
        unreachable!("less than the total")
    }

    /// What the executors have written goes on its way.
    fn collect(&mut self) -> Result<(), String> {
        for number in 0..self.sites.len() {
            for (to, mail) in std::mem::take(&mut self.sites[number].outgoing) {
                let stream = usize::from(mail.is_answer());
                let mut links = self.links.iter_mut().filter(|l| l.from == number as u16 && l.to == to);
                links.nth(stream).expect("two streams between any two").mail.push_back(mail);
            }
            for (client, mut reply) in std::mem::take(&mut self.sites[number].replies) {
                let waiting = self.clients[client as usize].waiting.take();
                let (call, request) = waiting.ok_or_else(|| format!("client {client} is answered twice"))?;
                let replies = match (request.len(), decode(&mut reply)) {
                    (1, reply) => vec![reply],
                    (_, Reply::Array(replies)) => replies,
                    (_, other) => return Err(format!("EXEC is answered with {other}")),
                };
                let outcome = Outcome::Replied { at: self.clock, replies };
                self.history.add(client, call, &request, outcome).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

fn text(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}

/// What a client understands of a whole encoded reply.
fn decode(reply: &mut Output) -> Reply {
    fn element(encoded: &mut &[u8]) -> Reply {
        let end = memchr::memchr(b'\r', encoded).expect("a line");
        let (line, rest) = (&encoded[1..end], &encoded[end + 2..]);
        let kind = encoded[0];
        *encoded = rest;
        let number = || std::str::from_utf8(line).expect("digits").parse::<i64>().expect("a number");
        match kind {
            b'+' => Reply::Status(line.into()),
            b'-' => Reply::error(line),
            b':' => Reply::Int(number()),
            b'$' if number() < 0 => Reply::Nil,
            b'$' => {
                let (value, rest) = encoded.split_at(number() as usize);
                *encoded = &rest[2..];
                Reply::Bulk(value.into())
            }
            b'*' => Reply::Array((0..number()).map(|_| element(encoded)).collect()),
            other => unreachable!("{}", other as char),
        }
    }
    let encoded = reply.flatten();
    let mut rest = &encoded[..];
    let reply = element(&mut rest);
    assert!(rest.is_empty(), "one reply");
    reply
}

/// Something that a client asks for.
fn request(random: &mut Rng, scenario: &Scenario, values: &mut u32) -> Request {
    let commands = if random.u32(0..100) < scenario.transactions { random.usize(2..5) } else { 1 };
    (0..commands).map(|_| command(random, scenario, values)).collect()
}

/// A command. Values that are written are all different.
fn command(random: &mut Rng, scenario: &Scenario, values: &mut u32) -> Vec<Vec<u8>> {
    let kind = scenario.kinds[random.usize(0..scenario.kinds.len())];
    let key = |random: &mut Rng, prefix: char| format!("{prefix}{}", random.usize(0..scenario.keys));
    let mut value = || {
        *values += 1;
        format!("v{values}")
    };
    let mut words: Vec<String> = Vec::new();
    match kind {
        "strings" => match random.u32(0..12) {
            0 | 1 => words.extend(["GET".into(), key(random, 's')]),
            2 => words.extend(["SET".into(), key(random, 's'), value()]),
            3 | 4 => {
                words.push("MSET".into());
                (0..random.u32(2..5)).for_each(|_| words.extend([key(random, 's'), value()]));
            }
            5 => {
                words.push("MSETNX".into());
                (0..random.u32(2..4)).for_each(|_| words.extend([key(random, 's'), value()]));
            }
            6 | 7 => {
                words.push("MGET".into());
                (0..random.u32(2..5)).for_each(|_| words.push(key(random, 's')));
            }
            8 => {
                words.push("DEL".into());
                (0..random.u32(1..4)).for_each(|_| words.push(key(random, 's')));
            }
            9 => words.extend(["RENAME".into(), key(random, 's'), key(random, 's')]),
            10 => words.extend(["RENAMENX".into(), key(random, 's'), key(random, 's')]),
            _ => words.extend(["COPY".into(), key(random, 's'), key(random, 's'), "REPLACE".into()]),
        },
        "lists" => match random.u32(0..5) {
            0 | 1 => words.extend(["RPUSH".into(), key(random, 'l'), value()]),
            2 => words.extend(["LPOP".into(), key(random, 'l')]),
            3 => words.extend([
                "LMOVE".into(),
                key(random, 'l'),
                key(random, 'l'),
                "LEFT".into(),
                "RIGHT".into(),
            ]),
            _ => words.extend(["LRANGE".into(), key(random, 'l'), "0".into(), "-1".into()]),
        },
        "sets" => match random.u32(0..6) {
            0 | 1 => words.extend(["SADD".into(), key(random, 't'), format!("m{}", random.u32(0..3))]),
            2 => {
                let member = format!("m{}", random.u32(0..3));
                words.extend(["SMOVE".into(), key(random, 't'), key(random, 't'), member]);
            }
            3 => words.extend(["SUNIONSTORE".into(), key(random, 't'), key(random, 't'), key(random, 't')]),
            4 => words.extend(["SDIFF".into(), key(random, 't'), key(random, 't')]),
            _ => words.extend(["SMEMBERS".into(), key(random, 't')]),
        },
        "whole" => words.push("FLUSHALL".into()),
        "everything" => {
            let write = random.bool();
            words.push(if write { "MSET" } else { "MGET" }.into());
            for number in 0..scenario.keys {
                words.push(format!("s{number}"));
                if write {
                    words.push(value());
                }
            }
        }
        other => unreachable!("{other}"),
    }
    words.into_iter().map(String::into_bytes).collect()
}

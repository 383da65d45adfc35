//! Random commands of one connection, over keys that no other one uses, and transfers between accounts that all use.

use crate::model::Words;
use fastrand::Rng;

/// Accounts; their sum never changes.
pub const ACCOUNTS: usize = 12;

/// What an account begins with.
pub const BALANCE: i64 = 1_000_000_000;

/// In milliseconds since 1970: later than these tests run.
const FAR_AWAY_MS: u64 = 4_000_000_000_000;

/// Keys of each kind.
const KEYS: usize = 6;

/// Adds a number to all keys; ARGV[2] makes it take longer than a turn.
const SPREAD: &str = "for i = 1, #KEYS do redis.call('INCRBY', KEYS[i], ARGV[1]) \
    local n = 0 for j = 1, tonumber(ARGV[2]) do n = n + j end end return #KEYS";

/// The same with a sign per key, for transfers; the last key is set.
const TRANSFER: &str = "redis.call('DECRBY', KEYS[1], ARGV[1]) redis.call('SET', KEYS[3], ARGV[2]) \
    return redis.call('INCRBY', KEYS[2], ARGV[1])";

/// What happens as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What is sent. The last reply acknowledges all of it.
    pub wire: Vec<Words>,
    /// What it does to the keys of the connection: commands that the model knows.
    pub effects: Vec<Words>,
    /// From which account to which, and how much.
    pub transfer: Option<(usize, usize, i64)>,
}

/// The random commands of one connection.
pub struct Source {
    number: usize,
    random: Rng,
    /// How many units there were: what makes values different from each other.
    count: u64,
    /// Entries of streams so far, for ids that only grow.
    entries: u64,
    flushes: bool,
}

fn words(text: &str) -> Words {
    text.split(' ').map(str::to_owned).collect()
}

pub fn account(number: usize) -> String {
    format!("account:{number}")
}

impl Source {
    /// Connection `number` works in database `database`; another one than 0 is its own, and sometimes emptied.
    pub fn new(number: usize, database: usize, random: Rng) -> Source {
        Source { number, random, count: 0, entries: 0, flushes: database != 0 }
    }

    /// What all its keys begin with.
    pub fn prefix(&self) -> String {
        format!("c{}:", self.number)
    }

    pub fn random(&mut self) -> &mut Rng {
        &mut self.random
    }

    fn key(&mut self, kind: &str) -> String {
        format!("c{}:{kind}:{}", self.number, self.random.usize(..KEYS))
    }

    /// Two different keys.
    fn two(&mut self, kind: &str) -> (String, String) {
        let first = self.random.usize(..KEYS);
        let second = (first + self.random.usize(1..KEYS)) % KEYS;
        let key = |at| format!("c{}:{kind}:{at}", self.number);
        (key(first), key(second))
    }

    /// Some different keys.
    fn some(&mut self, kind: &str) -> Vec<String> {
        let mut keys: Vec<String> = (0..KEYS).map(|at| format!("c{}:{kind}:{at}", self.number)).collect();
        self.random.shuffle(&mut keys);
        keys.truncate(self.random.usize(2..=KEYS));
        keys
    }

    /// A value that says when it was written; sometimes a large one.
    fn value(&mut self) -> String {
        let mut value = format!("{}.{}", self.number, self.count);
        let more = match self.random.u32(..400) {
            0 => self.random.usize(20_000..400_000),
            1..=8 => self.random.usize(500..9_000),
            9..=100 => self.random.usize(10..300),
            _ => 0,
        };
        value.extend(std::iter::repeat_n('x', more));
        value
    }

    /// The next thing to do.
    pub fn next(&mut self) -> Unit {
        self.count += 1;
        match self.random.u32(..100) {
            0..=9 => self.exec(),
            10..=14 => self.script(),
            15..=22 if !self.flushes => self.transfer(),
            _ => {
                let command = self.command();
                Unit { wire: vec![command.clone()], effects: vec![command], transfer: None }
            }
        }
    }

    fn exec(&mut self) -> Unit {
        let effects: Vec<Words> = (0..self.random.usize(2..6)).map(|_| self.command()).collect();
        let wire = [vec![words("MULTI")], effects.clone(), vec![words("EXEC")]].concat();
        Unit { wire, effects, transfer: None }
    }

    fn script(&mut self) -> Unit {
        let (keys, amount) = (self.some("number"), self.count.to_string());
        let turns = if self.random.u32(..20) == 0 { "200000" } else { "0" };
        let effects = keys.iter().map(|key| words(&format!("INCRBY {key} {amount}"))).collect();
        let mut wire = vec!["EVAL".to_owned(), SPREAD.to_owned(), keys.len().to_string()];
        wire.extend(keys);
        wire.extend([amount, turns.to_owned()]);
        Unit { wire: vec![wire], effects, transfer: None }
    }

    fn transfer(&mut self) -> Unit {
        let from = self.random.usize(..ACCOUNTS);
        let to = (from + self.random.usize(1..ACCOUNTS)) % ACCOUNTS;
        let amount = self.random.i64(1..1000);
        let (key, number) = (self.key("text"), self.count);
        let own = words(&format!("SET {key} {number}"));
        let wire = if self.random.bool() {
            let steps = [
                words("MULTI"),
                words(&format!("DECRBY {} {amount}", account(from))),
                own.clone(),
                words(&format!("INCRBY {} {amount}", account(to))),
                words("EXEC"),
            ];
            steps.to_vec()
        } else {
            let [from, to] = [from, to].map(account);
            let arguments =
                ["EVAL", TRANSFER, "3", &from, &to, &key, &amount.to_string(), &number.to_string()];
            vec![arguments.map(str::to_owned).to_vec()]
        };
        Unit { wire, effects: vec![own], transfer: Some((from, to, amount)) }
    }

    fn command(&mut self) -> Words {
        let (value, count) = (self.value(), self.count);
        let member = self.random.u32(..40);
        let at = FAR_AWAY_MS + count;
        let text = match self.random.u32(..44) {
            0..=3 => format!("SET {} {value}", self.key("text")),
            4 => format!("SET {} {value} PXAT {at}", self.key("text")),
            5 | 6 => format!("APPEND {} {value}", self.key("text")),
            7 => format!("INCR {}", self.key("number")),
            8 => format!("INCRBY {} {count}", self.key("number")),
            9..=12 => {
                let pairs: Vec<String> =
                    self.some("text").iter().map(|key| format!("{key} {value}")).collect();
                format!("MSET {}", pairs.join(" "))
            }
            13 => format!("DEL {}", self.some("text").join(" ")),
            14 => format!("DEL {} {} {}", self.key("list"), self.key("hash"), self.key("stream")),
            15 => format!("PEXPIREAT {} {at}", self.key("text")),
            16 => format!("PEXPIREAT {} {at}", self.key("zset")),
            17 => format!("PERSIST {}", self.key("text")),
            18 => {
                let (from, to) = self.two("text");
                format!("RENAME {from} {to}")
            }
            19 | 20 => format!("RPUSH {} {value} {count}", self.key("list")),
            21 => format!("LPUSH {} {value}", self.key("list")),
            22 => format!("LPOP {}", self.key("list")),
            23 => format!("LTRIM {} 0 {member}", self.key("list")),
            24 | 25 => {
                let (from, to) = self.two("list");
                format!("LMOVE {from} {to} LEFT RIGHT")
            }
            26 | 27 => format!("HSET {} f{member} {value} g{member} {count}", self.key("hash")),
            28 => format!("HDEL {} f{member}", self.key("hash")),
            29 => format!("HINCRBY {} number {count}", self.key("hash")),
            30 | 31 => format!("SADD {} m{member} {count}", self.key("set")),
            32 => format!("SREM {} m{member}", self.key("set")),
            33 => {
                let (from, to) = self.two("set");
                format!("SMOVE {from} {to} m{member}")
            }
            34 => format!("DEL {}", self.some("set").join(" ")),
            35 | 36 => format!("ZADD {} {count} m{member}", self.key("zset")),
            37 => format!("ZINCRBY {} {count} m{member}", self.key("zset")),
            38 => format!("ZREM {} m{member}", self.key("zset")),
            39 | 40 => {
                self.entries += 1;
                format!("XADD {} {}-{member} f {value}", self.key("stream"), self.entries)
            }
            41 => format!("XTRIM {} MAXLEN {member}", self.key("stream")),
            42 if self.flushes && self.random.u32(..10) == 0 => "FLUSHDB".to_owned(),
            42 => format!("DEL {}", self.key("list")),
            _ => format!("SET {} {count}", self.key("text")),
        };
        words(&text)
    }
}

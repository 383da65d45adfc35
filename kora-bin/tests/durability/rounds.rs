//! Crash rounds: clients write, the server is killed at a random moment and started again on the same directory, often with another number of workers, and sometimes
//! killed again while it loads. Then everything is compared.

use crate::clients::{Ledger, Relay};
use crate::disk::{self, Disk};
use crate::harness::{Client, Server, Subject};
use crate::workload::{account, ACCOUNTS, BALANCE};
use fastrand::Rng;
use std::time::{Duration, Instant};

/// Connections that send random commands. The last two have a database of their own.
const CONNECTIONS: usize = 6;

/// Rounds on one directory; then comes a new one.
const LIVES_MAX: usize = 12;

/// What `every_second` may lose: a second, and what timers need.
const LOSS_MAX: Duration = Duration::from_millis(1_100);

/// Databases of the connections.
const DATABASES: [usize; CONNECTIONS] = [0, 0, 0, 0, 1, 2];

/// How many rounds: `KORA_ROUNDS`, or so many.
fn rounds(usual: usize) -> usize {
    let rounds = std::env::var("KORA_ROUNDS").ok();
    rounds.map_or(usual, |text| text.parse().expect("KORA_ROUNDS is a number"))
}

/// The seed of the random choices: `KORA_SEED`, or another one each time.
fn seed() -> u64 {
    let seed = std::env::var("KORA_SEED").ok();
    seed.map_or_else(|| fastrand::u64(..), |text| text.parse().expect("KORA_SEED is a number"))
}

/// Everything that outlives the server: its directory, and what clients know of what they have written.
struct World {
    disk: Disk,
    mode: &'static str,
    ledgers: Vec<Ledger>,
    relays: Vec<Relay>,
    balances: Vec<i64>,
}

/// How a server has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Killed(Instant),
    Terminated,
}

impl World {
    /// Accounts that are on the disk, whatever the mode.
    fn new(mode: &'static str, random: &mut Rng) -> World {
        let disk = Disk::new();
        let server = disk.start(2, mode);
        let accounts: Vec<String> =
            (0..ACCOUNTS).map(|number| format!("{} {BALANCE}", account(number))).collect();
        assert_eq!(server.client().command(&format!("MSET {}", accounts.join(" "))).text(), "OK");
        disk::terminate(server);
        let ledger = |number| Ledger::new(number, DATABASES[number], random.fork());
        let ledgers = (0..CONNECTIONS).map(ledger).collect();
        World { disk, mode, ledgers, relays: Relay::all(), balances: vec![BALANCE; ACCOUNTS] }
    }

    /// All clients write until the server is ended. Returns how it was.
    fn live(&mut self, mut server: Server, random: &mut Rng) -> End {
        let address = server.address();
        let longest = if self.mode == "every_second" { 2_500 } else { 700 };
        let time = Duration::from_millis(random.u64(20..longest));
        let terminated = random.u32(..5) == 0;
        let snapshots = random.bool();
        std::thread::scope(|scope| {
            for ledger in &mut self.ledgers {
                scope.spawn(move || ledger.work(address));
            }
            for relay in &mut self.relays {
                scope.spawn(move || relay.work(address));
            }
            if snapshots {
                scope.spawn(move || take_snapshots(address));
            }
            std::thread::sleep(time);
            let now = Instant::now();
            server.signal(if terminated { libc::SIGTERM } else { libc::SIGKILL });
            let exit = server.wait();
            if !terminated {
                return End::Killed(now);
            }
            assert!(exit.status.success(), "it ends well: {exit:?}");
            End::Terminated
        })
    }

    /// Compares what the server has with what was written. Returns how many units were acknowledged, and how many of them are lost.
    fn judge(&mut self, client: &mut Client, end: End, in_order: bool) -> Result<(usize, usize), String> {
        let strict = self.mode == "every_write" || end == End::Terminated;
        let (mut acknowledged, mut lost) = (0, 0);
        for ledger in &mut self.ledgers {
            let answered = ledger.acknowledged();
            let kept = ledger.judge(client, in_order)?;
            acknowledged += answered;
            lost += kept.lost;
            if let Some(since) = kept.lost_since {
                if strict {
                    return Err(format!("of {answered} acknowledged units {} are not there", kept.lost));
                }
                if let (End::Killed(at), "every_second") = (end, self.mode) {
                    let age = at.saturating_duration_since(since);
                    if age > LOSS_MAX {
                        return Err(format!("a unit is lost that was acknowledged {age:?} before"));
                    }
                }
            }
            for (from, to, amount) in kept.transfers {
                self.balances[from] -= amount;
                self.balances[to] += amount;
            }
        }
        if Relay::judge(&mut self.relays, client)? > 0 && strict {
            return Err("a copy is lost that was acknowledged".to_owned());
        }
        let accounts: Vec<String> = (0..ACCOUNTS).map(account).collect();
        let read = client.command(&format!("MGET {}", accounts.join(" ")));
        let found: Vec<i64> =
            read.items().iter().map(|value| value.text().parse().expect("a balance")).collect();
        if found != self.balances {
            return Err(format!("accounts hold {found:?} instead of {:?}", self.balances));
        }
        Ok((acknowledged, lost))
    }
}

/// Snapshots while clients write, as many as there is time for.
fn take_snapshots(address: std::net::SocketAddrV4) {
    let Ok(mut client) = Client::connect_to(address) else { return };
    while client.send(&["BGSAVE"]).and_then(|()| client.read()).is_ok() {
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..300)));
    }
}

fn run(mode: &'static str, usual: usize) {
    let (rounds, seed) = (rounds(usual), seed());
    println!("{mode}: {rounds} rounds; KORA_SEED={seed} repeats the choices");
    let mut random = Rng::with_seed(seed);
    let (mut all, mut all_lost) = (0, 0);
    let mut round = 0;
    while round < rounds {
        let mut world = World::new(mode, &mut random);
        let mut end = End::Terminated;
        let mut in_order = true;
        for life in 0..=LIVES_MAX.min(rounds - round) {
            let workers = *random.choice(&[1, 2, 2, 4]).expect("not empty");
            if random.u32(..4) == 0 {
                // Killed while it starts: that must not matter.
                let server = world.disk.launch(workers, mode).spawn();
                std::thread::sleep(Duration::from_millis(random.u64(..120)));
                server.kill();
            }
            let server = world.disk.start(workers, mode);
            match world.judge(&mut server.client(), end, in_order) {
                Ok((acknowledged, lost)) => {
                    all += acknowledged;
                    all_lost += lost;
                    let ended = if end == End::Terminated { "ended" } else { "killed" };
                    println!("{mode}: {ended}, {workers} workers: {acknowledged} acknowledged, {lost} lost");
                }
                Err(why) => panic!("{mode}, round {}, life {life}, after {end:?}: {why}", round + life),
            }
            if life == LIVES_MAX.min(rounds - round) {
                disk::terminate(server);
                break;
            }
            end = world.live(server, &mut random);
            in_order = workers == 1 || Subject::current() != Subject::Kora;
        }
        round += LIVES_MAX;
    }
    println!("{mode}: {all} units acknowledged, {all_lost} lost");
    assert!(all > 0, "clients were answered");
}

#[test]
fn every_write_keeps_what_was_acknowledged() {
    run("every_write", 8);
}

/// Redis's own EVERYSEC gives what it has to the kernel at once, and takes longer for the disk.
#[test]
fn every_second_loses_a_second_at_most() {
    run("every_second", 4);
}

#[test]
fn os_managed_keeps_a_prefix() {
    if Subject::current() == Subject::Kora {
        run("os_managed", 3);
    }
}

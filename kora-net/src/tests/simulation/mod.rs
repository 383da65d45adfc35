//! A deterministic simulation of what executors do together: the shards, the lock tables and the coordinators of the server, and mail that
//! comes when a seed says so.
//!
//! What is simulated is only what connects them: the turn loop, sockets and queues. A seed gives the clients, what they ask for, and which
//! of the things that may happen next does: a coordinator goes on, a piece of mail arrives, a client asks. Mail between two executors keeps its order, as the
//! queues of the mesh do, but what is answered at once and what comes late are two streams, and each link has a slowness of its own.
//! Every history is checked for linearizability; in every second schedule there is a log, which is checked as well ([`log::check`]); a schedule in which something waits for ever ends with nothing left that may happen, which is looked for.

mod log;
mod site;
mod world;

use world::{Scenario, World};

/// How many schedules each test runs; more with `KORA_SCHEDULES`.
fn schedules() -> u64 {
    std::env::var("KORA_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

fn run(scenario: Scenario) {
    let seed = std::env::var("KORA_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = seed.map_or(0..schedules(), |seed| seed..seed + 1);
    for seed in seeds {
        let mut world = World::new(seed, &scenario);
        if let Err(violation) = world.run() {
            panic!("KORA_SEED={seed}: {violation}");
        }
    }
}

#[test]
fn commands_over_several_shards_are_atomic_on_strings() {
    run(Scenario {
        shards: 2..5,
        clients: 2..7,
        requests: 3..12,
        keys: 4,
        transactions: 0,
        kinds: &["strings"],
    });
}

#[test]
fn commands_over_several_shards_are_atomic_on_lists_and_sets() {
    run(Scenario {
        shards: 2..5,
        clients: 2..6,
        requests: 3..10,
        keys: 4,
        transactions: 0,
        kinds: &["lists", "sets"],
    });
}

/// EXEC over any keys, with commands over several shards inside.
#[test]
fn transactions_are_atomic() {
    run(Scenario {
        shards: 2..5,
        clients: 2..6,
        requests: 3..9,
        keys: 4,
        transactions: 50,
        kinds: &["strings", "lists", "sets"],
    });
}

/// Whole shards are held beside keys.
#[test]
fn databases_are_flushed_at_one_moment() {
    run(Scenario {
        shards: 2..5,
        clients: 2..6,
        requests: 3..10,
        keys: 4,
        transactions: 0,
        kinds: &["strings", "whole"],
    });
}

/// Everybody wants everything: each transaction is refused again and again, and yet all of them end.
#[test]
fn nobody_starves_where_everything_is_wanted() {
    run(Scenario {
        shards: 4..9,
        clients: 10..20,
        requests: 2..5,
        keys: 16,
        transactions: 0,
        kinds: &["everything"],
    });
}

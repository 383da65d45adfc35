use super::*;
use kora_engine::command::registry;

fn push(queue: &mut Queue, line: &str, place: Place, limit: u64) -> bool {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    queue.push(registry().find(argv[0]).expect("a command"), &argv, place, limit)
}

fn words(queue: &Queue, at: usize) -> Vec<String> {
    queue.get(at).argv.iter().map(|word| String::from_utf8(word.to_vec()).expect("text")).collect()
}

#[test]
fn commands_come_back_as_they_were_queued() {
    let mut queue = Queue::new(3);
    let lines = ["set a 1", "ping", "mset  x a ", "get a"];
    for line in lines {
        assert!(push(&mut queue, line, Place::Shard(0), u64::MAX));
    }
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(words(&queue, at).join(" "), *line);
        assert_eq!(
            (queue.get(at).command.full_name.as_str(), queue.get(at).db),
            (line.split(' ').next().unwrap(), 3)
        );
    }
    assert_eq!(queue.iter().count(), 4);
    assert!(queue.reset(5) && queue.is_empty() && queue.db == 5 && !queue.has(Flags::all()));
}

#[test]
fn the_extent_is_that_of_all_commands() {
    let mut queue = Queue::new(0);
    let mut extent_after = |line, place| {
        assert!(push(&mut queue, line, place, u64::MAX));
        queue.extent()
    };
    assert_eq!(extent_after("ping", Place::AtOnce), Extent::Nowhere);
    assert_eq!(extent_after("get a", Place::Shard(1)), Extent::One(1));
    assert_eq!(extent_after("info", Place::Rounds), Extent::One(1));
    assert_eq!(extent_after("get b", Place::Shard(1)), Extent::One(1));
    assert_eq!(extent_after("get c", Place::Shard(0)), Extent::Several);
    assert_eq!(extent_after("get b", Place::Shard(1)), Extent::Several);
    assert!(queue.takes_rounds());
}

#[test]
fn a_queue_takes_no_more_than_it_may() {
    let mut queue = Queue::new(0);
    let mut count = 0;
    while push(&mut queue, "set key value", Place::Shard(0), 10_000) {
        count += 1;
    }
    assert!((100..400).contains(&count), "{count}");
    assert_eq!(queue.len(), count);
    queue.abort_and_free();
    assert!(queue.aborted && queue.heap_bytes() == 0);
}

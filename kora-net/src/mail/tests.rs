use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

fn head(tag: u32, argc: usize) -> RequestHead {
    RequestHead {
        to: ReplyTo::Gather { id: tag, part: 0 },
        command: 0,
        db: 0,
        argc: argc as u32,
        protocol: Protocol::Resp2,
        touch: true,
    }
}

fn tag(to: &ReplyTo) -> u32 {
    match to {
        ReplyTo::Gather { id, .. } => *id,
        ReplyTo::Connection { .. } | ReplyTo::Nobody => unreachable!("these tests make none"),
    }
}

/// Answers every request with its number, and those that `late` picks out later.
fn answer(mut batch: Box<Batch>, peer: &mut Peer, late: impl Fn(u32) -> bool) {
    for head in std::mem::take(&mut batch.heads) {
        if late(tag(&head.to)) {
            let mut reply = Output::default();
            reply.buf.extend_from_slice(&tag(&head.to).to_le_bytes());
            peer.outbox.late.push(LateReply { to: head.to, reply });
            continue;
        }
        batch.answers.buf.extend_from_slice(&tag(&head.to).to_le_bytes());
        batch.answer_heads.push(AnswerHead { to: head.to, end: batch.answers.buf.len(), shared_end: 0 });
    }
    peer.answer(batch);
}

/// Takes the answers out of a batch: the numbers of the requests.
fn answers(batch: &Batch) -> Vec<u32> {
    let mut start = 0;
    let mut found = Vec::new();
    for head in &batch.answer_heads {
        let text = &batch.answers.buf[start..head.end];
        assert_eq!(text, tag(&head.to).to_le_bytes());
        start = head.end;
        found.push(tag(&head.to));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Executors ask, send and take mail in any order: no queue ever overflows (which would panic), nobody waits for ever, and every
    /// request is answered once.
    #[test]
    fn any_order_of_sending_and_answering_ends_well(
        count in 2usize..=4,
        acts in proptest::collection::vec((0usize..4, 0usize..4, 0u8..6), 0..400),
    ) {
        let mut mesh = mesh(count);
        let mut asked = 0u32;
        let mut answered = Vec::new();
        let take = |mesh: &mut Vec<Vec<Option<Peer>>>, me: usize, from: usize, answered: &mut Vec<u32>, most: usize| {
            let peer = mesh[me][from].as_mut().unwrap();
            for _ in 0..most {
                match peer.receive() {
                    None => break,
                    Some(Mail::Request(mut batch)) => {
                        for late in std::mem::take(&mut batch.late) {
                            answered.push(tag(&late.to));
                        }
                        answer(batch, peer, |tag| tag % 5 == 0);
                    }
                    Some(Mail::Answer(batch)) => {
                        answered.extend(answers(&batch));
                        peer.retire(batch);
                    }
                }
                assert!(peer.credits <= BATCH_CREDITS);
            }
        };
        for (me, other, act) in acts {
            let (me, other) = (me % count, other % count);
            if me == other {
                continue;
            }
            let peer = mesh[me][other].as_mut().unwrap();
            match act {
                0 | 1 => {
                    peer.outbox.push(head(asked, 1), [&b"x"[..]].into_iter(), None);
                    asked += 1;
                }
                2 | 3 => {
                    let credits = peer.credits;
                    let empty = peer.outbox.is_empty();
                    prop_assert_eq!(peer.send(), credits > 0 && !empty);
                }
                4 => take(&mut mesh, me, other, &mut answered, 1),
                _ => take(&mut mesh, me, other, &mut answered, usize::MAX),
            }
        }
        // Everybody goes on until nothing moves.
        for _ in 0..asked + 10 {
            for me in 0..count {
                for other in (0..count).filter(|&other| other != me) {
                    take(&mut mesh, me, other, &mut answered, usize::MAX);
                    mesh[me][other].as_mut().unwrap().send();
                }
            }
        }
        answered.sort();
        prop_assert_eq!(answered, (0..asked).collect::<Vec<_>>());
        for (me, row) in mesh.iter().enumerate() {
            for (other, peer) in row.iter().enumerate().filter(|&(other, _)| other != me) {
                let peer = peer.as_ref().unwrap();
                prop_assert_eq!(peer.credits, BATCH_CREDITS, "{} to {}", me, other);
                prop_assert!(!peer.has_mail() && peer.outbox.is_empty());
                prop_assert!(peer.spare.len() <= BATCH_CREDITS);
            }
        }
    }

    #[test]
    fn arguments_come_out_as_they_went_in(
        requests in proptest::collection::vec(
            (proptest::collection::vec(prop_oneof![4 => 0usize..40, 1 => 16_000usize..17_000], 1..6), any::<bool>()),
            0..30,
        )
    ) {
        let mut batch = Batch::default();
        let mut model = Vec::new();
        for (number, (lens, refcounted)) in requests.into_iter().enumerate() {
            // All arguments lie in one frame, as they do when they arrive.
            let bytes: Vec<u8> = (0..lens.iter().sum::<usize>()).map(|i| (i * 7 + number) as u8).collect();
            let frame = Bytes::from(bytes);
            let mut at = 0;
            let argv: Vec<&[u8]> = lens
                .iter()
                .map(|len| {
                    at += len;
                    &frame[at - len..at]
                })
                .collect();
            batch.push(head(number as u32, argv.len()), argv.iter().copied(), refcounted.then_some(&frame));
            let large = lens.iter().filter(|&&len| len > kora_engine::limits::INLINE_VALUE_MAX).count();
            model.push((argv.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>(), refcounted && large == 1));
        }
        let mut read = BatchReader::default();
        for (head, (expected, by_reference)) in batch.heads.iter().zip(&model) {
            let mut argv = SmallVec::new();
            let frame = read.arguments(head, &batch, &mut argv);
            prop_assert_eq!(&argv.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>(), expected);
            prop_assert_eq!(frame.is_some(), *by_reference);
            if let Some(frame) = frame {
                // The argument lies in it.
                let large = argv.iter().max_by_key(|arg| arg.len()).unwrap();
                prop_assert_eq!(&frame.slice_ref(large)[..], *large);
            }
        }
        prop_assert_eq!(batch.is_empty(), model.is_empty());
        batch.reset();
        prop_assert!(batch.is_empty() && batch.lens.is_empty() && batch.bytes.is_empty() && batch.large.is_empty());
    }
}

/// Waits on the eventfd as the executor's ring does; false when nobody rings.
fn sleep(doorbell: &Doorbell) -> bool {
    let mut poll = libc::pollfd { fd: doorbell.fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry.
    let ready = unsafe { libc::poll(&mut poll, 1, 20_000) };
    if ready == 1 {
        let mut counter = 0u64;
        // SAFETY: eight writable bytes, an open descriptor.
        unsafe { libc::read(doorbell.fd(), (&raw mut counter).cast(), 8) };
    }
    ready == 1
}

/// A sleeper that only looks into its queue after its doorbell rang must see every piece of mail: a lost wake-up is a poll that ends by
/// its time-out.
#[test]
fn no_wake_up_is_lost() {
    const MESSAGES: usize = 50_000;
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (mut to, mut from) = rtrb::RingBuffer::<usize>::new(8);
    let taken = Arc::new(AtomicUsize::new(0));
    let sender = {
        let (doorbell, taken) = (doorbell.clone(), taken.clone());
        std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(5);
            for number in 0..MESSAGES {
                while to.push(number).is_err() {
                    std::thread::yield_now();
                }
                doorbell.ring();
                // Now and then let the other side fall asleep, so that both orders of flag and mail happen.
                if random.u8(..) < 100 {
                    while taken.load(Ordering::Acquire) <= number {
                        std::hint::spin_loop();
                        std::thread::yield_now();
                    }
                }
            }
        })
    };
    let mut expected = 0;
    let mut slept = 0;
    while expected < MESSAGES {
        while let Ok(number) = from.pop() {
            assert_eq!(number, expected);
            expected += 1;
            taken.store(expected, Ordering::Release);
        }
        if expected == MESSAGES {
            break;
        }
        doorbell.park();
        if from.is_empty() {
            assert!(sleep(&doorbell), "no wake-up for message {expected}");
            slept += 1;
        }
        doorbell.unpark();
    }
    sender.join().unwrap();
    assert!(slept > 0, "it never slept: nothing was tested");
}

#[test]
fn a_doorbell_writes_only_for_a_sleeper_and_once() {
    let doorbell = Doorbell::new().unwrap();
    let readable = || {
        let mut poll = libc::pollfd { fd: doorbell.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    };
    doorbell.ring();
    assert!(!readable(), "nobody sleeps");
    doorbell.park();
    doorbell.unpark();
    doorbell.ring();
    assert!(!readable(), "nobody sleeps any more");
    doorbell.park();
    doorbell.ring();
    doorbell.ring();
    assert!(sleep(&doorbell) && !readable(), "one wake-up is enough");
}

#[test]
fn a_large_turn_does_not_keep_its_memory() {
    let mut mesh = mesh(2);
    let peer = mesh[0][1].as_mut().unwrap();
    let value = vec![1u8; 3 << 20];
    peer.outbox.push(head(0, 1), [&value[..]].into_iter(), None);
    assert!(peer.send());
    let other = mesh[1][0].as_mut().unwrap();
    let Some(Mail::Request(batch)) = other.receive() else { panic!("a request was sent") };
    answer(batch, other, |_| false);
    let peer = mesh[0][1].as_mut().unwrap();
    let Some(Mail::Answer(batch)) = peer.receive() else { panic!("it was answered") };
    peer.retire(batch);
    assert_eq!(peer.spare.len(), 1);
    assert!(peer.spare[0].bytes.capacity() <= 1 << 20);
}

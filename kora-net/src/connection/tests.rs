use super::*;
use crate::resp::encode::RespSink;
use kora_engine::reply::Reply;
use proptest::prelude::*;
use std::os::unix::net::UnixStream;

fn connection() -> Connection {
    let (socket, _) = UnixStream::pair().unwrap();
    let info = ClientInfo::new(1, String::new(), String::new(), true, 0);
    let mut connection = Connection::new(socket.into(), 1, Entrance::Unix, true, info);
    // Close to the end, so that the numbers wrap.
    connection.first_pending = u32::MAX - 3;
    connection
}

/// A reply: its text, and whether that is spliced in.
#[derive(Debug, Clone)]
struct Text(Vec<u8>, bool);

impl Text {
    fn write(&self, out: &mut Output) {
        let mut sink = RespSink::new(out, Protocol::Resp2);
        match self.1 {
            true => sink.bulk_shared(&Bytes::copy_from_slice(&self.0)),
            false => sink.bulk(&self.0),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        [format!("${}\r\n", self.0.len()).as_bytes(), &self.0, b"\r\n"].concat()
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// A command answered at once.
    Local(Text),
    /// A command answered from elsewhere; the flag says that its reply is to be discarded.
    Await(Text, bool),
    /// One of the awaited replies comes.
    Complete(usize),
    /// What is in `out` goes to the kernel.
    Send,
}

fn act() -> impl Strategy<Value = Act> {
    let text = (proptest::collection::vec(any::<u8>(), 0..20), any::<bool>()).prop_map(|(t, s)| Text(t, s));
    prop_oneof![
        3 => text.clone().prop_map(Act::Local),
        4 => (text, proptest::bool::weighted(0.2)).prop_map(|(text, discard)| Act::Await(text, discard)),
        4 => any::<usize>().prop_map(Act::Complete),
        1 => Just(Act::Send),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn replies_leave_in_the_order_of_the_requests(acts in proptest::collection::vec(act(), 0..200), oldest_first: bool) {
        let mut connection = connection();
        // The model: every reply in request order, `None` while it is awaited.
        let mut model: Vec<Option<Vec<u8>>> = Vec::new();
        let mut awaited: Vec<(u32, usize, Text, bool)> = Vec::new();
        let mut sent = Vec::new();
        let complete = |connection: &mut Connection,
                            model: &mut Vec<Option<Vec<u8>>>,
                            (sequence, place, text, discard): (u32, usize, Text, bool)| {
            connection.complete(sequence, |out| text.write(out));
            model[place] = Some(if discard { Vec::new() } else { text.encoded() });
        };
        for act in acts {
            match act {
                Act::Local(text) => {
                    text.write(connection.reply_output());
                    connection.reply_written();
                    model.push(Some(text.encoded()));
                }
                Act::Await(text, discard) => {
                    connection.reply_mode = if discard { ReplyMode::Off } else { ReplyMode::On };
                    let sequence = connection.await_reply();
                    connection.reply_mode = ReplyMode::On;
                    awaited.push((sequence, model.len(), text, discard));
                    model.push(None);
                }
                Act::Complete(at) => {
                    if !awaited.is_empty() {
                        let at = if oldest_first { 0 } else { at % awaited.len() };
                        let reply = awaited.remove(at);
                        complete(&mut connection, &mut model, reply);
                    }
                }
                Act::Send => sent.extend(connection.out.flatten()),
            }
            // What is complete up to the first gap is in `out`; everything else counts as output, too.
            let ready: Vec<u8> = model.iter().map_while(Option::as_ref).flatten().copied().collect();
            let out: Vec<u8> = connection.out.pieces().flatten().copied().collect();
            prop_assert_eq!([&sent[..], &out].concat(), ready);
            let discarded: usize = connection
                .pending
                .iter()
                .filter(|pending| pending.discard)
                .filter_map(|pending| Some(pending.reply.as_ref()?.len()))
                .sum();
            let known: usize = model.iter().flatten().map(Vec::len).sum();
            prop_assert_eq!(connection.output_len() - discarded, known - sent.len());
        }
        while !awaited.is_empty() {
            let reply = awaited.remove(if oldest_first { 0 } else { awaited.len() / 2 });
            complete(&mut connection, &mut model, reply);
        }
        sent.extend(connection.out.flatten());
        prop_assert_eq!(sent, model.into_iter().flatten().flatten().collect::<Vec<u8>>());
        prop_assert!(connection.is_drained() && connection.tail.is_empty());
    }

    #[test]
    fn partial_input_is_what_was_added_less_what_was_consumed(
        steps in proptest::collection::vec((0usize..5000, 0.0..1.2f64), 1..100)
    ) {
        let mut partial = Partial::default();
        let mut model = Vec::new();
        let mut random = fastrand::Rng::with_seed(1);
        for (len, consumed) in steps {
            let more: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            partial.add(&more);
            model.extend_from_slice(&more);
            let consumed = ((model.len() as f64 * consumed) as usize).min(model.len());
            partial.consume(consumed);
            model.drain(..consumed);
            prop_assert_eq!(partial.bytes(), &model[..]);
            prop_assert_eq!(partial.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn a_reply_that_nobody_awaits_any_more_is_ignored() {
    let mut connection = connection();
    let sequence = connection.await_reply();
    connection.complete(sequence, |out| out.buf.extend_from_slice(b"+OK\r\n"));
    connection.complete(sequence, |out| out.buf.extend_from_slice(b"+again\r\n"));
    connection.complete(sequence.wrapping_add(7), |out| out.buf.extend_from_slice(b"+never\r\n"));
    assert_eq!(connection.out.flatten(), b"+OK\r\n");
}

#[test]
fn a_long_pipeline_does_not_move_its_tail_with_every_reply() {
    let mut connection = connection();
    let reply = Text(vec![b'x'; 100], false);
    let count = 50_000;
    let first = connection.first_pending;
    for _ in 0..count {
        connection.await_reply();
        reply.write(connection.reply_output());
        connection.reply_written();
    }
    let mut moves = 0;
    let mut expected = Vec::new();
    for i in 0..count {
        let before = connection.tail.buf.len();
        connection.complete(first.wrapping_add(i), |out| out.buf.extend_from_slice(b":1\r\n"));
        expected.extend_from_slice(b":1\r\n");
        expected.extend(reply.encoded());
        moves += (connection.tail.buf.len() < before) as usize;
    }
    assert!(moves < 40, "the tail was moved {moves} times");
    assert_eq!(connection.out.flatten(), expected);
}

const LIMITS: ParseLimits = ParseLimits { bulk_len: 512 << 20, authenticated: true };

/// A frame of arguments of these lengths.
fn frame(lens: &[usize]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", lens.len()).into_bytes();
    for &len in lens {
        bytes.extend_from_slice(format!("${len}\r\n").as_bytes());
        bytes.extend(std::iter::repeat_n(b'a', len));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Feeds a frame in pieces. Returns what became of it, how often its memory was moved to be larger, and its capacity at the end.
fn fed(bytes: &[u8], piece: usize) -> (Option<Bytes>, usize, usize) {
    let mut pieces = bytes.chunks(piece);
    let first = pieces.next().unwrap().to_vec();
    let mut parser = Parser::default();
    assert_eq!(parser.parse(&first, &LIMITS), Ok(Step::Incomplete));
    let mut partial = Partial::new(first, parser);
    let (mut moves, mut whole) = (0, None);
    for piece in pieces {
        let before = partial.capacity();
        partial.add(piece);
        moves += (partial.capacity() != before) as usize;
        let mut parser = std::mem::take(&mut partial.parser);
        let capacity = partial.capacity();
        whole = partial.take_large_frame(&mut parser, &LIMITS);
        if whole.is_some() {
            return (whole, moves, capacity);
        }
        // What the executor does then: it looks for a whole frame, and finds none.
        let step = parser.parse(partial.bytes(), &LIMITS);
        assert_eq!(step == Ok(Step::Incomplete), partial.len() < bytes.len());
        partial.parser = parser;
    }
    (whole, moves, partial.capacity())
}

#[test]
fn a_frame_that_comes_in_pieces_is_moved_a_few_times_only() {
    for lens in
        [vec![3, 1, 10_000_000], vec![3, 1, 10_000_000, 2, 4], [3].into_iter().chain([20_000; 500]).collect()]
    {
        let bytes = frame(&lens);
        let (whole, moves, capacity) = fed(&bytes, 16 * 1024);
        assert_eq!(whole.expect("the frame is whole"), bytes);
        assert!(moves < 45, "{moves} moves for {} arguments", lens.len());
        assert!(capacity <= bytes.len() / 4 * 5 + 16 * 1024, "{capacity} bytes for {}", bytes.len());
    }
}

#[test]
fn only_large_frames_become_refcounted_memory() {
    assert_eq!(fed(&frame(&[3, 1, 5000]), 1000).0, None);
    let inline = [b"SET k ".as_slice(), &[b'v'; 40_000], b"\r\n"].concat();
    let mut parser = Parser::default();
    assert_eq!(parser.parse(&inline[..30_000], &LIMITS), Ok(Step::Incomplete));
    let mut partial = Partial::new(inline[..30_000].to_vec(), Parser::default());
    partial.add(&inline[30_000..]);
    assert_eq!(partial.take_large_frame(&mut parser, &LIMITS), None);
    // It can be read again from its start.
    assert_eq!(parser.parse(partial.bytes(), &LIMITS), Ok(Step::Frame(inline.len())));
    assert!(parser.is_inline());
}

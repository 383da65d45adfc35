//! Arbitrary bytes, cut at arbitrary places, into the request parser.
//!
//! An input is a head and the bytes of a connection:
//!
//! ```text
//!   flags  n  n lengths  bytes
//! ```
//!
//! `flags`: bit 0 the client has authenticated, bit 1 arguments of at most 64 bytes. `n` (modulo 16) lengths of pieces, each modulo 64 and
//! at least 1, are used over and over; without any the bytes come one by one. Digits as text do: `13abc*1\r\n...`.
//!
//! Checked: frames lie within the input, arguments within their frame and in order, the announced length is never too long, a
//! parser that waits knows that it has begun, and whole or in pieces the bytes mean the same.

use kora_net::resp::parse::{ParseLimits, Parser, ProtocolError, Step, LINE_MAX};

/// What a connection's bytes come to.
#[derive(Debug, PartialEq)]
struct Parsed {
    /// Arguments of each whole frame.
    frames: Vec<Vec<Vec<u8>>>,
    /// Bytes in whole frames.
    consumed: usize,
    /// Why the connection would be closed.
    error: Option<ProtocolError>,
}

/// Runs one input. Panics when a promise is broken.
pub fn run(data: &[u8]) {
    let [flags, count, rest @ ..] = data else { return };
    let count = usize::from(count % 16).min(rest.len());
    let (lengths, bytes) = rest.split_at(count);
    let limits =
        ParseLimits { authenticated: flags & 1 != 0, bulk_len: if flags & 2 != 0 { 64 } else { 512 << 20 } };
    let whole = parse(std::iter::once(bytes), &limits);
    let in_pieces = parse(pieces(bytes, lengths), &limits);
    // A line that is too long is refused as soon as that is seen: how it came makes a difference, as in Redis.
    if bytes.len() <= LINE_MAX {
        assert_eq!(whole, in_pieces);
    }
    encode_and_parse(&whole.frames);
}

/// Cuts `bytes` into pieces of these lengths, used over and over.
fn pieces<'b>(bytes: &'b [u8], lengths: &[u8]) -> impl Iterator<Item = &'b [u8]> {
    let mut lengths: Vec<usize> = lengths.iter().map(|&len| usize::from(len % 64).max(1)).collect();
    if lengths.is_empty() {
        lengths.push(1);
    }
    let mut rest = bytes;
    let mut at = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(lengths[at % lengths.len()].min(rest.len()));
        at += 1;
        rest = after;
        Some(piece)
    })
}

/// Parses as an executor does: what is left of one receive is kept with the parser's state and goes in front of the next.
fn parse<'b>(received: impl Iterator<Item = &'b [u8]>, limits: &ParseLimits) -> Parsed {
    let mut parsed = Parsed { frames: Vec::new(), consumed: 0, error: None };
    let mut parser = Parser::default();
    let mut kept: Vec<u8> = Vec::new();
    let mut needed = 0;
    for piece in received {
        kept.extend_from_slice(piece);
        let mut at = 0;
        while at < kept.len() {
            let input = &kept[at..];
            match parser.parse(input, limits) {
                Ok(Step::Frame(len)) => {
                    assert!(0 < len && len <= input.len(), "a frame of {len} bytes in {}", input.len());
                    assert!(len >= needed, "{needed} bytes were announced, the frame has {len}");
                    let frame = &input[..len];
                    if !parser.is_inline() {
                        check_spans(&parser, at, len);
                    }
                    parsed.frames.push(parser.args(frame).map(<[u8]>::to_vec).collect());
                    parsed.consumed += len;
                    parser.reset();
                    assert!(parser.at_start());
                    needed = 0;
                    at += len;
                }
                Ok(Step::Incomplete) => {
                    // An executor would take it for a connection whose turn was over, and try again without end.
                    assert!(!parser.at_start(), "bytes wait and the parser has not begun");
                    assert!(parser.needed() >= needed, "the announced length shrank");
                    needed = parser.needed();
                    break;
                }
                Err(error) => {
                    let text = error.text();
                    assert!(text.starts_with(b"ERR Protocol error: "));
                    parsed.error = Some(error);
                    return parsed;
                }
            }
        }
        kept.drain(..at);
    }
    parsed
}

/// The arguments stand in the frame one behind the other, each with its line end.
fn check_spans(parser: &Parser, base: usize, len: usize) {
    let mut spans = Vec::new();
    parser.spans_from(base, &mut spans);
    let mut end = base;
    for span in &spans {
        assert!(end < span.start && span.start <= span.end, "{spans:?}");
        end = span.end + 2;
    }
    assert!(end <= base + len, "{spans:?} in a frame of {len} bytes at {base}");
}

/// Commands written in the canonical form read back as they were.
fn encode_and_parse(commands: &[Vec<Vec<u8>>]) {
    let mut bytes = Vec::new();
    for command in commands {
        bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for arg in command {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    let limits = ParseLimits { authenticated: true, bulk_len: 512 << 20 };
    let parsed = parse(std::iter::once(&bytes[..]), &limits);
    assert_eq!((&parsed.frames[..], parsed.consumed, parsed.error), (commands, bytes.len(), None));
}

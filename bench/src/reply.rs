//! Counts the replies in a byte stream, without building them.
//!
//! The generator needs to know of a reply only that it ended and whether it was an error or a null, so the
//! parser keeps no buffer of the stream: a payload is skipped by its length, and only a header line that
//! was cut by the end of a read is carried over. All shapes of RESP2 and RESP3 are followed: aggregates
//! nest (one frame each), attributes (`|`) come before the reply that they describe and are none, pushes
//! (`>`) are no answers to a request, streamed strings and aggregates end with `;0` and `.`.

/// What one reply was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Value,
    /// RESP3 null, RESP2 null string or null array: a GET that missed.
    Null,
    /// An error, or an aggregate with an error in it; [`ReplyParser::error_text`] has the first.
    Error,
}

/// Nesting that no reply has; a stream that goes deeper is not RESP.
const DEPTH_MAX: usize = 4_096;
/// Longest header line (a simple string or an error is one).
const LINE_MAX_BYTES: usize = 1 << 20;
/// How much of an error is kept for the report.
const ERROR_TEXT_MAX_BYTES: usize = 256;

#[derive(Clone, Copy)]
enum Remaining {
    /// This many elements.
    Elements(u64),
    /// Elements until `.`.
    Streamed,
    /// Chunks of a string until `;0`.
    Chunks,
}

struct Frame {
    remaining: Remaining,
    /// Whether the whole counts as one element of what is around it (attributes and pushes do not).
    counts: bool,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    /// `left` bytes to come, the closing CR LF included.
    Payload {
        left: u64,
        kind: Payload,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Payload {
    Text,
    Error,
    Chunk,
}

/// An incremental parser of one connection's replies.
pub(crate) struct ReplyParser {
    state: State,
    stack: Vec<Frame>,
    /// The beginning of a header whose end has not come yet.
    partial: Vec<u8>,
    failed: bool,
    null: bool,
    error: Vec<u8>,
}

impl ReplyParser {
    pub(crate) fn new() -> ReplyParser {
        ReplyParser {
            state: State::Header,
            stack: Vec::new(),
            partial: Vec::new(),
            failed: false,
            null: false,
            error: Vec::new(),
        }
    }

    /// The text of the error last reported by [`Outcome::Error`].
    pub(crate) fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.error).into_owned()
    }

    /// Consumes all of `input` and calls `done` for each reply that ended in it. An `Err` says why the
    /// stream is not RESP; nothing more can be parsed then.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        mut done: impl FnMut(&ReplyParser, Outcome),
    ) -> Result<(), String> {
        while !input.is_empty() {
            match self.state {
                State::Header => {
                    let Some(end) = input.iter().position(|&b| b == b'\n') else {
                        self.partial.extend_from_slice(input);
                        if self.partial.len() > LINE_MAX_BYTES {
                            return Err(format!("a line of more than {LINE_MAX_BYTES} bytes"));
                        }
                        return Ok(());
                    };
                    let (head, rest) = input.split_at(end + 1);
                    input = rest;
                    let ended = if self.partial.is_empty() {
                        self.header(head)?
                    } else {
                        let mut line = std::mem::take(&mut self.partial);
                        line.extend_from_slice(head);
                        let ended = self.header(&line)?;
                        line.clear();
                        self.partial = line;
                        ended
                    };
                    if ended {
                        self.element_ended(&mut done);
                    }
                }
                State::Payload { left, kind } => {
                    let here = left.min(input.len() as u64) as usize;
                    let (bytes, rest) = input.split_at(here);
                    input = rest;
                    self.payload(left, kind, bytes)?;
                    let left = left - here as u64;
                    if left > 0 {
                        self.state = State::Payload { left, kind };
                        return Ok(());
                    }
                    self.state = State::Header;
                    if kind != Payload::Chunk {
                        self.element_ended(&mut done);
                    }
                }
            }
        }
        Ok(())
    }

    /// One header line with its end. True when the element is complete with it.
    fn header(&mut self, line: &[u8]) -> Result<bool, String> {
        let [kind, text @ .., b'\r', b'\n'] = line else {
            return Err(format!("{:?} is no header", String::from_utf8_lossy(line)));
        };
        if let Some(Frame { remaining: Remaining::Chunks, .. }) = self.stack.last() {
            if *kind != b';' {
                return Err("a streamed string with something else than chunks in it".into());
            }
            let length = length(text)?;
            if length == 0 {
                self.stack.pop();
                return Ok(true);
            }
            self.state = State::Payload { left: length + 2, kind: Payload::Chunk };
            return Ok(false);
        }
        match kind {
            b'+' | b':' | b',' | b'#' | b'(' => Ok(true),
            b'_' => {
                self.null_seen();
                Ok(true)
            }
            b'-' => {
                if self.first_error() {
                    self.error_bytes(text);
                }
                Ok(true)
            }
            b'$' | b'=' | b'!' if text == b"?" => self.push(Remaining::Chunks, true),
            b'$' if text == b"-1" => {
                self.null_seen();
                Ok(true)
            }
            b'$' | b'=' => {
                self.state = State::Payload { left: length(text)? + 2, kind: Payload::Text };
                Ok(false)
            }
            b'!' => {
                let kind = if self.first_error() { Payload::Error } else { Payload::Text };
                self.state = State::Payload { left: length(text)? + 2, kind };
                Ok(false)
            }
            b'*' if text == b"-1" => {
                self.null_seen();
                Ok(true)
            }
            b'*' | b'~' | b'%' | b'>' | b'|' => {
                let counts = !matches!(kind, b'>' | b'|');
                if text == b"?" {
                    return self.push(Remaining::Streamed, counts);
                }
                let per = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                match length(text)? * per {
                    0 => Ok(counts),
                    elements => self.push(Remaining::Elements(elements), counts),
                }
            }
            b'.' if text.is_empty() => match self.stack.pop() {
                Some(Frame { remaining: Remaining::Streamed, counts }) => Ok(counts),
                _ => Err("an end (.) of a stream that was not begun".into()),
            },
            _ => Err(format!("{:?} begins no reply", char::from(*kind))),
        }
    }

    fn push(&mut self, remaining: Remaining, counts: bool) -> Result<bool, String> {
        if self.stack.len() == DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} aggregates in each other"));
        }
        self.stack.push(Frame { remaining, counts });
        Ok(false)
    }

    /// `bytes` of a payload of which `left` bytes were to come: keeps an error's text, checks the CR LF.
    fn payload(&mut self, left: u64, kind: Payload, bytes: &[u8]) -> Result<(), String> {
        let text = (left - 2.min(left)).min(bytes.len() as u64) as usize;
        if kind == Payload::Error {
            self.error_bytes(&bytes[..text]);
        }
        let end: &[u8] = if left >= 2 { b"\r\n" } else { b"\n" };
        if end.starts_with(&bytes[text..]) {
            Ok(())
        } else {
            Err("a string that is longer than its header says".into())
        }
    }

    fn null_seen(&mut self) {
        self.null |= self.stack.is_empty();
    }

    /// Whether this error is the first of its reply, whose text is kept.
    fn first_error(&mut self) -> bool {
        if self.failed {
            return false;
        }
        self.failed = true;
        self.error.clear();
        true
    }

    fn error_bytes(&mut self, text: &[u8]) {
        let room = ERROR_TEXT_MAX_BYTES.saturating_sub(self.error.len());
        self.error.extend_from_slice(&text[..room.min(text.len())]);
    }

    fn element_ended(&mut self, done: &mut impl FnMut(&ReplyParser, Outcome)) {
        loop {
            let Some(frame) = self.stack.last_mut() else {
                let outcome = match (self.failed, self.null) {
                    (true, _) => Outcome::Error,
                    (false, true) => Outcome::Null,
                    (false, false) => Outcome::Value,
                };
                (self.failed, self.null) = (false, false);
                return done(self, outcome);
            };
            let Remaining::Elements(left) = &mut frame.remaining else { return };
            *left -= 1;
            if *left > 0 {
                return;
            }
            let counts = frame.counts;
            self.stack.pop();
            if !counts {
                return;
            }
        }
    }
}

fn length(text: &[u8]) -> Result<u64, String> {
    // Ten digits are more than any reply's length, and cannot overflow.
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return Err(format!("{:?} is no length", String::from_utf8_lossy(text)));
    }
    Ok(text.iter().fold(0, |n, &digit| n * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Error, Null, Value};
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Result<Vec<(Outcome, String)>, String> {
        let mut parser = ReplyParser::new();
        let mut seen = Vec::new();
        for piece in pieces {
            parser.feed(piece, |p, outcome| {
                let text = if outcome == Error { p.error_text() } else { String::new() };
                seen.push((outcome, text));
            })?;
        }
        Ok(seen)
    }

    /// Every shape, each with what it must count as.
    const SHAPES: &[(&[u8], &[Outcome])] = &[
        (b"+OK\r\n", &[Value]),
        (b"+\r\n", &[Value]),
        (b"-ERR no\r\n", &[Error]),
        (b":-42\r\n", &[Value]),
        (b"$5\r\nhe\r\no\r\n", &[Value]),
        (b"$0\r\n\r\n", &[Value]),
        (b"$-1\r\n", &[Null]),
        (b"*-1\r\n", &[Null]),
        (b"*0\r\n", &[Value]),
        (b"*2\r\n$1\r\na\r\n$-1\r\n", &[Value]),
        (b"*2\r\n*1\r\n:1\r\n*2\r\n+a\r\n*0\r\n", &[Value]),
        (b"*2\r\n:1\r\n-ERR inner\r\n", &[Error]),
        (b"_\r\n", &[Null]),
        (b"#t\r\n", &[Value]),
        (b",3.14\r\n,inf\r\n", &[Value, Value]),
        (b"(3492890328409238509324850943850943825024385\r\n", &[Value]),
        (b"=7\r\ntxt:abc\r\n", &[Value]),
        (b"!8\r\nERR a\r\nb\r\n", &[Error]),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n", &[Value]),
        (b"%0\r\n", &[Value]),
        (b"~3\r\n:1\r\n:2\r\n:3\r\n", &[Value]),
        (b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n+OK\r\n", &[Value]),
        (b"|1\r\n+ttl\r\n:3600\r\n$-1\r\n", &[Null]),
        (b"*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n:1\r\n:2\r\n", &[Value]),
        (b"|0\r\n:1\r\n", &[Value]),
        (b"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n", &[Value]),
        (b"*?\r\n:1\r\n*?\r\n.\r\n+x\r\n.\r\n", &[Value]),
        (b"%?\r\n+a\r\n:1\r\n.\r\n", &[Value]),
    ];

    #[test]
    fn every_shape_counts_as_one_reply() {
        for (bytes, expected) in SHAPES {
            let seen = parse(&[bytes]).unwrap();
            let outcomes: Vec<Outcome> = seen.iter().map(|s| s.0).collect();
            assert_eq!(outcomes, *expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        let all: Vec<u8> = SHAPES.iter().flat_map(|s| s.0).copied().collect();
        let whole = parse(&[&all]).unwrap();
        assert_eq!(whole.len(), SHAPES.iter().map(|s| s.1.len()).sum::<usize>());
        for at in 0..=all.len() {
            assert_eq!(parse(&[&all[..at], &all[at..]]).unwrap(), whole, "split at {at}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(parse(&bytes).unwrap(), whole);
    }

    #[test]
    fn the_first_error_of_a_reply_is_told() {
        let seen = parse(&[b"*3\r\n-ERR one\r\n-ERR two\r\n:1\r\n!5\r\nERR 3\r\n"]).unwrap();
        assert_eq!(seen, [(Error, "ERR one".to_string()), (Error, "ERR 3".to_string())]);
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        let bad: [&[u8]; 11] = [
            b"HTTP/1.1 200 OK\r\n",
            b"+OK\n",
            b"$3\r\nabcd\r\n",
            b"$2\r\nab\rX",
            b"$-2\r\n",
            b"$99999999999\r\n",
            b"*x\r\n",
            b".\r\n",
            b"*1\r\n.\r\n",
            b"$?\r\n+a\r\n",
            b"\r\n",
        ];
        for bytes in bad {
            assert!(parse(&[bytes]).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(parse(&[&b"*1\r\n".repeat(DEPTH_MAX + 1)]).is_err());
    }
}

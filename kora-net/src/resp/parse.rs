//! The request parser: resumable, so that a frame is read once however it arrives in pieces.
//!
//! A [`Parser`] notes where the arguments lie as offsets from the start of the frame. When the bytes
//! end inside a frame it keeps its state; called again with the same bytes and more, it goes on where it
//! stopped. Nothing is allocated for a length that is only claimed: memory grows with the bytes that came.

use super::inline::split_words;
use std::ops::Range;

/// What a client may send before it is refused.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// Longest argument, bytes.
    pub bulk_len: usize,
    /// Whether the client has authenticated: before that only short commands are read.
    pub authenticated: bool,
}

/// Longest inline command and longest length line, bytes (Redis's PROTO_INLINE_MAX_SIZE).
pub const LINE_MAX: usize = 64 * 1024;
/// Most arguments before authentication.
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Longest argument before authentication, bytes.
const UNAUTHENTICATED_BULK_MAX: i64 = 16 * 1024;
/// Most arguments of one command.
const ARGS_MAX: i64 = i32::MAX as i64;

/// The bytes are not RESP; the connection is told and closed. The text is Redis's, without `ERR `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number after `*` is not one or too large.
    MultibulkLength,
    /// More than 10 arguments before AUTH.
    UnauthenticatedMultibulkLength,
    /// The number after `$` is not one, negative or too large.
    BulkLength,
    /// An argument of more than 16 KiB before AUTH.
    UnauthenticatedBulkLength,
    /// Something else stands where an argument must start.
    ExpectedDollar(u8),
    /// Quotes of an inline command do not match.
    UnbalancedQuotes,
    /// An inline command of more than 64 KiB.
    TooBigInline,
    /// A line with the number of arguments that does not end.
    TooBigCount,
    /// A line with a length that does not end.
    TooBigBulkCount,
}

impl ProtocolError {
    /// The reply line without the leading `-`.
    pub fn text(&self) -> Vec<u8> {
        let text = match self {
            ProtocolError::MultibulkLength => "invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::BulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::ExpectedDollar(got) => {
                let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
                text.push(*got);
                text.push(b'\'');
                return text;
            }
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::TooBigCount => "too big mbulk count string",
            ProtocolError::TooBigBulkCount => "too big bulk count string",
        };
        format!("ERR Protocol error: {text}").into_bytes()
    }
}

/// What a call of [`Parser::parse`] found.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Step {
    /// A whole frame of this many bytes. It may have no arguments (an empty line, `*0`): then there is
    /// nothing to execute.
    Frame(usize),
    /// The frame goes on past the bytes given; the parser keeps its state.
    Incomplete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Nothing of the frame read yet.
    #[default]
    Start,
    /// Expecting `$len`.
    Length,
    /// Expecting this many bytes and a line end.
    Argument(usize),
}

/// Reads one frame after another; see the module.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    /// Offset from the start of the frame of the first byte not yet understood.
    position: usize,
    /// How far a line end has been looked for: a long line that comes in pieces is searched once.
    searched: usize,
    /// Arguments still to come.
    missing: i64,
    /// Where the arguments are: offsets from the start of the frame, or into `words` for an inline command.
    spans: Vec<Range<usize>>,
    /// Unquoted text of an inline command.
    words: Vec<u8>,
    inline: bool,
}

impl Parser {
    /// Forgets the present frame.
    #[inline]
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.position = 0;
        self.searched = 0;
        self.spans.clear();
        self.inline = false;
    }

    /// Whether nothing of the present frame has been read.
    #[inline]
    pub fn at_start(&self) -> bool {
        self.state == State::Start && self.searched == 0
    }

    /// Whether the frame was an inline command: its arguments are not pieces of the frame.
    #[inline]
    pub fn is_inline(&self) -> bool {
        self.inline
    }

    /// Adds where the arguments are, counted from `base` bytes before the frame, to `spans`.
    #[inline]
    pub fn spans_from(&self, base: usize, spans: &mut Vec<Range<usize>>) {
        spans.extend(self.spans.iter().map(|span| base + span.start..base + span.end));
    }

    /// All arguments; `frame` starts where the frame starts.
    #[inline]
    pub fn args<'b>(&'b self, frame: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let from: &'b [u8] = if self.inline { &self.words } else { frame };
        self.spans.iter().map(move |span| &from[span.start..span.end])
    }

    /// How long the frame will be at least, counted from its start: the end of the argument that is being read.
    /// A receiver may make room for it.
    pub fn needed(&self) -> usize {
        match self.state {
            State::Argument(len) => self.position + len + 2,
            _ => self.position,
        }
    }

    /// Reads on. `frame` starts where the frame starts; it may go on past its end.
    #[inline]
    pub fn parse(&mut self, frame: &[u8], limits: &ParseLimits) -> Result<Step, ProtocolError> {
        if self.state == State::Start {
            match frame.first() {
                None => return Ok(Step::Incomplete),
                Some(b'*') => {
                    if let Some(step) = self.start(frame, limits)? {
                        return Ok(step);
                    }
                }
                Some(_) => return self.parse_inline(frame),
            }
        }
        loop {
            let len = match self.state {
                State::Argument(len) => len,
                _ => match self.read_length(frame, limits)? {
                    Some(len) => len,
                    None => return Ok(Step::Incomplete),
                },
            };
            let end = self.position + len;
            if frame.len() < end + 2 {
                self.state = State::Argument(len);
                return Ok(Step::Incomplete);
            }
            self.spans.push(self.position..end);
            self.position = end + 2;
            self.state = State::Length;
            self.missing -= 1;
            if self.missing == 0 {
                return Ok(Step::Frame(self.position));
            }
        }
    }

    /// `*count`. Returns a step when the frame ends or pauses here.
    #[inline]
    fn start(&mut self, frame: &[u8], limits: &ParseLimits) -> Result<Option<Step>, ProtocolError> {
        let Some((count, next)) = self.read_number(frame, 1, ProtocolError::TooBigCount)? else {
            return Ok(Some(Step::Incomplete));
        };
        let count = match count {
            Some(count) if count <= ARGS_MAX => count,
            _ => return Err(ProtocolError::MultibulkLength),
        };
        if !limits.authenticated && count > UNAUTHENTICATED_ARGS_MAX {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.position = next;
        if count <= 0 {
            return Ok(Some(Step::Frame(next)));
        }
        self.missing = count;
        self.state = State::Length;
        Ok(None)
    }

    #[inline]
    fn read_length(&mut self, frame: &[u8], limits: &ParseLimits) -> Result<Option<usize>, ProtocolError> {
        match frame.get(self.position) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&other) => {
                // Redis looks at the byte only when the line is whole.
                return match self.read_number_slowly(frame, self.position, ProtocolError::TooBigBulkCount)? {
                    None => Ok(None),
                    Some(_) => Err(ProtocolError::ExpectedDollar(other)),
                };
            }
        }
        let Some((len, next)) = self.read_number(frame, self.position + 1, ProtocolError::TooBigBulkCount)?
        else {
            return Ok(None);
        };
        let len = match len {
            Some(len) if len >= 0 && len as u64 <= limits.bulk_len as u64 => len,
            _ => return Err(ProtocolError::BulkLength),
        };
        if !limits.authenticated && len > UNAUTHENTICATED_BULK_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.position = next;
        Ok(Some(len as usize))
    }

    /// A number and its line end, from `at`. The number is `None` when the text is none; the whole is `None` when the
    /// line does not end yet.
    #[inline]
    #[allow(clippy::type_complexity)]
    fn read_number(
        &mut self,
        frame: &[u8],
        at: usize,
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        // Nearly every length has one to four digits.
        let mut value: i64 = 0;
        let mut i = at;
        while let Some(&byte) = frame.get(i) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || i - at == 9 {
                break;
            }
            value = value * 10 + digit as i64;
            i += 1;
        }
        let leading_zero = i - at > 1 && frame[at] == b'0';
        if i > at && !leading_zero && frame.len() > i + 1 && frame[i] == b'\r' {
            return Ok(Some((Some(value), i + 2)));
        }
        self.read_number_slowly(frame, at, too_long)
    }

    #[cold]
    #[allow(clippy::type_complexity)]
    fn read_number_slowly(
        &mut self,
        frame: &[u8],
        at: usize,
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        let from = self.searched.max(at);
        let Some(found) = frame.get(from..).and_then(|rest| memchr::memchr(b'\r', rest)) else {
            self.searched = frame.len();
            return if frame.len() - at.min(frame.len()) > LINE_MAX { Err(too_long) } else { Ok(None) };
        };
        let end = from + found;
        if frame.len() < end + 2 {
            self.searched = end;
            return Ok(None);
        }
        self.searched = 0;
        Ok(Some((kora_engine::args::parse_i64(&frame[at..end]), end + 2)))
    }

    #[cold]
    fn parse_inline(&mut self, frame: &[u8]) -> Result<Step, ProtocolError> {
        let Some(found) = memchr::memchr(b'\n', &frame[self.searched..]) else {
            self.searched = frame.len();
            return if frame.len() > LINE_MAX {
                Err(ProtocolError::TooBigInline)
            } else {
                Ok(Step::Incomplete)
            };
        };
        let end = self.searched + found;
        let line = match &frame[..end] {
            [line @ .., b'\r'] => line,
            line => line,
        };
        let words = split_words(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.inline = true;
        self.words.clear();
        for word in words {
            let start = self.words.len();
            self.words.extend_from_slice(&word);
            self.spans.push(start..self.words.len());
        }
        Ok(Step::Frame(end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: ParseLimits = ParseLimits { bulk_len: 512 << 20, authenticated: true };

    /// Frames of `bytes`, fed in pieces that end at `cuts`, as argument lists.
    fn frames(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        let mut start = 0;
        let mut ends: Vec<usize> = cuts.iter().copied().filter(|&c| c < bytes.len()).collect();
        ends.push(bytes.len());
        ends.sort();
        for end in ends {
            while let Step::Frame(len) = parser.parse(&bytes[start..end.max(start)], &LIMITS)? {
                let frame = &bytes[start..start + len];
                found.push(parser.args(frame).map(<[u8]>::to_vec).collect());
                parser.reset();
                start += len;
                if start >= end {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn encode(args: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    #[test]
    fn malformed_frames_get_the_words_of_redis() {
        for (bytes, text) in [
            (&b"*100000000000\r\n"[..], "ERR Protocol error: invalid multibulk length"),
            (b"*abc\r\n", "ERR Protocol error: invalid multibulk length"),
            (b"*1\r\n*1\r\n", "ERR Protocol error: expected '$', got '*'"),
            (b"*1\r\n\r\n", "ERR Protocol error: expected '$', got '\r'"),
            (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
            (b"*1\r\n$99999999999\r\n", "ERR Protocol error: invalid bulk length"),
            (b"*1\r\n$9223372036854775808\r\n", "ERR Protocol error: invalid bulk length"),
            (b"set \"a\r\n", "ERR Protocol error: unbalanced quotes in request"),
        ] {
            assert_eq!(frames(bytes, &[]).unwrap_err().text(), text.as_bytes());
        }
    }

    #[test]
    fn lines_that_do_not_end_are_refused() {
        assert_eq!(frames(&[b'a'; LINE_MAX + 1], &[]), Err(ProtocolError::TooBigInline));
        let mut count = vec![b'*'];
        count.extend([b'1'; LINE_MAX + 10]);
        assert_eq!(frames(&count, &[]), Err(ProtocolError::TooBigCount));
    }

    #[test]
    fn strangers_may_only_send_short_commands() {
        let limits = ParseLimits { authenticated: false, ..LIMITS };
        assert_eq!(
            Parser::default().parse(b"*11\r\n", &limits),
            Err(ProtocolError::UnauthenticatedMultibulkLength)
        );
        assert_eq!(
            Parser::default().parse(b"*1\r\n$16385\r\n", &limits),
            Err(ProtocolError::UnauthenticatedBulkLength)
        );
        assert_eq!(Parser::default().parse(b"*10\r\n$16384\r\n", &limits), Ok(Step::Incomplete));
    }

    #[test]
    fn empty_frames_have_no_arguments() {
        assert_eq!(
            frames(b"\r\n*0\r\n*-1\r\n\nPING\r\n", &[]).unwrap(),
            vec![vec![], vec![], vec![], vec![], vec![b"PING".to_vec()]]
        );
    }

    proptest! {
        #[test]
        fn a_frame_reads_the_same_however_it_is_cut(
            commands in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6), 1..6),
            cuts in proptest::collection::vec(0usize..400, 0..20),
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(c)).collect();
            prop_assert_eq!(frames(&bytes, &cuts).unwrap(), commands.clone());
            let every: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(frames(&bytes, &every).unwrap(), commands);
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(0usize..200, 0..5)) {
            let _ = frames(&bytes, &cuts);
        }

        #[test]
        fn nearly_valid_input_reads_the_same_in_pieces(text in "[*$0-9a\r\n -]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..8)) {
            let whole = frames(text.as_bytes(), &[]);
            let pieces = frames(text.as_bytes(), &cuts);
            prop_assert_eq!(whole, pieces);
        }
    }
}

//! The reply sink of the network: RESP2 and RESP3 into an [`Output`].
//!
//! An output is one contiguous buffer, plus a list of large values that are spliced in at an offset and sent by
//! reference. Small replies are copied: it is cheaper than one more element in a vectored send.

use bytes::Bytes;
use kora_engine::double::Text;
use kora_engine::reply::{Protocol, Reply};

/// Bytes of buffer that are worth a piece of their own in a vectored send.
const SEAL_LEN_MIN: usize = 16 * 1024;

/// Bytes to be sent: what is in `buf`, with each of `shared` inserted before the byte at its offset.
#[derive(Default, Debug)]
pub struct Output {
    /// Encoded replies.
    pub buf: Vec<u8>,
    /// Large values: where in `buf` each belongs (ascending), and the value.
    pub shared: Vec<(usize, Bytes)>,
    /// Sum of the lengths in `shared`.
    shared_len: usize,
}

impl Output {
    /// Bytes in all.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len() + self.shared_len
    }

    /// Whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty() && self.shared.is_empty()
    }

    /// Forgets everything, keeps the buffer.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.shared.clear();
        self.shared_len = 0;
    }

    /// Splices a value in at the present end.
    pub fn push_shared(&mut self, bytes: Bytes) {
        self.shared_len += bytes.len();
        self.shared.push((self.buf.len(), bytes));
    }

    /// Turns what is in the buffer into spliced values when it is long: whatever is added then, and wherever this output is
    /// appended, it is not copied again.
    pub fn seal(&mut self) {
        if self.buf.len() < SEAL_LEN_MIN {
            return;
        }
        let plain = Bytes::from(std::mem::take(&mut self.buf));
        self.shared_len += plain.len();
        let spliced = std::mem::take(&mut self.shared);
        let mut start = 0;
        for (at, value) in spliced {
            if at > start {
                self.shared.push((0, plain.slice(start..at)));
                start = at;
            }
            self.shared.push((0, value));
        }
        if start < plain.len() {
            self.shared.push((0, plain.slice(start..)));
        }
    }

    /// Adds another output at the end.
    pub fn append(&mut self, other: &mut Output) {
        let base = self.buf.len();
        self.buf.extend_from_slice(&other.buf);
        self.shared_len += other.shared_len;
        self.shared.extend(other.shared.drain(..).map(|(at, bytes)| (base + at, bytes)));
        other.clear();
    }

    /// Adds the part of `other` between two positions, each a byte offset and an index into the spliced values.
    pub fn append_part(&mut self, other: &Output, from: (usize, usize), to: (usize, usize)) {
        let base = self.buf.len();
        self.buf.extend_from_slice(&other.buf[from.0..to.0]);
        for (at, bytes) in &other.shared[from.1..to.1] {
            self.shared_len += bytes.len();
            self.shared.push((base + at - from.0, bytes.clone()));
        }
    }

    /// Removes what lies before a position.
    pub fn cut_front(&mut self, to: (usize, usize)) {
        self.buf.drain(..to.0);
        for (_, bytes) in self.shared.drain(..to.1) {
            self.shared_len -= bytes.len();
        }
        for (at, _) in &mut self.shared {
            *at -= to.0;
        }
    }

    /// Bytes before a position.
    pub fn len_before(&self, to: (usize, usize)) -> usize {
        to.0 + self.shared[..to.1].iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// The contiguous pieces in the order in which they are sent; some may be empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.shared.iter().map(|(at, _)| *at));
        let ends = self.shared.iter().map(|(at, _)| *at).chain(std::iter::once(self.buf.len()));
        let plain = starts.zip(ends).map(|(start, end)| &self.buf[start..end]);
        let shared = self.shared.iter().map(|(_, bytes)| &bytes[..]).chain(std::iter::once(&[][..]));
        plain.zip(shared).flat_map(|(a, b)| [a, b])
    }

    /// Everything as one contiguous copy.
    pub fn flatten(&mut self) -> Vec<u8> {
        if self.shared.is_empty() {
            self.shared_len = 0;
            return std::mem::take(&mut self.buf);
        }
        let mut flat = Vec::with_capacity(self.len());
        for piece in self.pieces() {
            flat.extend_from_slice(piece);
        }
        self.clear();
        flat
    }
}

/// Writes typed replies as RESP of one protocol version.
pub struct RespSink<'a> {
    out: &'a mut Output,
    protocol: Protocol,
}

impl<'a> RespSink<'a> {
    /// A sink that adds to `out`.
    #[inline]
    pub fn new(out: &'a mut Output, protocol: Protocol) -> RespSink<'a> {
        RespSink { out, protocol }
    }

    #[inline]
    fn header(&mut self, kind: u8, n: usize) {
        let buf = &mut self.out.buf;
        if n < 10 {
            buf.extend_from_slice(&[kind, b'0' + n as u8, b'\r', b'\n']);
        } else if n < 100 {
            buf.extend_from_slice(&[kind, b'0' + (n / 10) as u8, b'0' + (n % 10) as u8, b'\r', b'\n']);
        } else {
            let mut text = itoa::Buffer::new();
            let text = text.format(n).as_bytes();
            buf.reserve(text.len() + 3);
            buf.push(kind);
            buf.extend_from_slice(text);
            buf.extend_from_slice(b"\r\n");
        }
    }

    #[inline]
    fn resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// One line: a kind byte and text that holds no CR or LF.
    fn line(&mut self, kind: u8, text: &[u8]) {
        let buf = &mut self.out.buf;
        buf.push(kind);
        buf.extend_from_slice(text);
        buf.extend_from_slice(b"\r\n");
    }
}

impl Reply for RespSink<'_> {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    #[inline]
    fn ok(&mut self) {
        self.out.buf.extend_from_slice(b"+OK\r\n");
    }

    fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.line(b'+', text.as_bytes());
    }

    fn error(&mut self, text: &[u8]) {
        let buf = &mut self.out.buf;
        buf.push(b'-');
        // A client's bytes may be quoted in the text: a line end in them would forge a reply.
        buf.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        buf.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn integer(&mut self, value: i64) {
        let buf = &mut self.out.buf;
        if (0..10).contains(&value) {
            buf.extend_from_slice(&[b':', b'0' + value as u8, b'\r', b'\n']);
        } else {
            let mut text = itoa::Buffer::new();
            let text = text.format(value).as_bytes();
            buf.push(b':');
            buf.extend_from_slice(text);
            buf.extend_from_slice(b"\r\n");
        }
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        // All at once: the head of a length of 64 bits takes 23 bytes.
        self.out.buf.reserve(bytes.len() + 25);
        self.header(b'$', bytes.len());
        let buf = &mut self.out.buf;
        buf.extend_from_slice(bytes);
        buf.extend_from_slice(b"\r\n");
    }

    fn bulk_shared(&mut self, bytes: &Bytes) {
        self.header(b'$', bytes.len());
        self.out.push_shared(bytes.clone());
        self.out.buf.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn null(&mut self) {
        let text: &[u8] = if self.resp3() { b"_\r\n" } else { b"$-1\r\n" };
        self.out.buf.extend_from_slice(text);
    }

    fn null_array(&mut self) {
        let text: &[u8] = if self.resp3() { b"_\r\n" } else { b"*-1\r\n" };
        self.out.buf.extend_from_slice(text);
    }

    fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    fn map(&mut self, pairs: usize) {
        if self.resp3() {
            self.header(b'%', pairs);
        } else {
            self.header(b'*', pairs * 2);
        }
    }

    fn set(&mut self, len: usize) {
        self.header(if self.resp3() { b'~' } else { b'*' }, len);
    }

    fn push(&mut self, len: usize) {
        self.header(if self.resp3() { b'>' } else { b'*' }, len);
    }

    fn double(&mut self, value: f64) {
        let text = Text::of(value);
        if self.resp3() {
            self.line(b',', text.as_bytes());
        } else {
            self.bulk(text.as_bytes());
        }
    }

    fn boolean(&mut self, value: bool) {
        if self.resp3() {
            self.out.buf.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(value as i64);
        }
    }

    fn verbatim(&mut self, format: &str, text: &[u8]) {
        assert!(format.len() == 3);
        if self.resp3() {
            self.header(b'=', text.len() + 4);
            let buf = &mut self.out.buf;
            buf.extend_from_slice(format.as_bytes());
            buf.push(b':');
            buf.extend_from_slice(text);
            buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    fn raw(&mut self, encoded: &[u8]) {
        self.out.buf.extend_from_slice(encoded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(protocol: Protocol, write: impl FnOnce(&mut dyn Reply)) -> String {
        let mut out = Output::default();
        write(&mut RespSink::new(&mut out, protocol));
        String::from_utf8(out.flatten()).unwrap()
    }

    #[test]
    fn each_type_has_its_form_in_both_protocols() {
        let both =
            |write: fn(&mut dyn Reply)| (encoded(Protocol::Resp2, write), encoded(Protocol::Resp3, write));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(both(|r| r.null()), pair("$-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.null_array()), pair("*-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.map(12)), pair("*24\r\n", "%12\r\n"));
        assert_eq!(both(|r| r.set(2)), pair("*2\r\n", "~2\r\n"));
        assert_eq!(both(|r| r.push(2)), pair("*2\r\n", ">2\r\n"));
        assert_eq!(both(|r| r.double(1.5)), pair("$3\r\n1.5\r\n", ",1.5\r\n"));
        assert_eq!(both(|r| r.boolean(true)), pair(":1\r\n", "#t\r\n"));
        assert_eq!(both(|r| r.verbatim("txt", b"hi")), pair("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"));
        assert_eq!(both(|r| r.integer(-12)), pair(":-12\r\n", ":-12\r\n"));
        assert_eq!(both(|r| r.bulk(b"0123456789")), pair("$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n"));
    }

    #[test]
    fn an_error_cannot_forge_a_second_reply() {
        assert_eq!(encoded(Protocol::Resp2, |r| r.error(b"ERR a\r\n+OK\r\n")), "-ERR a  +OK  \r\n");
    }

    #[test]
    fn a_sealed_output_holds_the_same_bytes() {
        let long = vec![b'x'; SEAL_LEN_MIN];
        let mut out = Output::default();
        let mut flat = Vec::new();
        for part in 0..4u8 {
            let mut sink = RespSink::new(&mut out, Protocol::Resp2);
            sink.integer(part as i64);
            sink.bulk_shared(&Bytes::from_static(b"abc"));
            if part != 1 {
                sink.bulk(&long);
                sink.bulk_shared(&Bytes::from_static(b"de"));
            }
            flat.extend_from_slice(format!(":{part}\r\n$3\r\nabc\r\n").as_bytes());
            if part != 1 {
                flat.extend_from_slice(format!("${}\r\n", long.len()).as_bytes());
                flat.extend_from_slice(&long);
                flat.extend_from_slice(b"\r\n$2\r\nde\r\n");
            }
            out.seal();
            assert_eq!(out.buf.is_empty(), part != 1, "short parts are not worth it");
            assert_eq!(out.len(), flat.len());
        }
        let mut all = Output::default();
        RespSink::new(&mut all, Protocol::Resp2).ok();
        all.append(&mut out);
        assert_eq!(all.flatten(), [b"+OK\r\n", &flat[..]].concat());
    }

    #[test]
    fn large_values_are_spliced_in_place() {
        let mut out = Output::default();
        let mut sink = RespSink::new(&mut out, Protocol::Resp2);
        sink.array(2);
        sink.bulk_shared(&Bytes::from_static(b"abc"));
        sink.integer(7);
        let mut all = Output::default();
        RespSink::new(&mut all, Protocol::Resp2).ok();
        all.append(&mut out);
        assert_eq!(all.len(), 5 + 4 + 4 + 5 + 4);
        assert_eq!(all.flatten(), b"+OK\r\n*2\r\n$3\r\nabc\r\n:7\r\n");
        assert_eq!(all.len(), 0);
    }
}

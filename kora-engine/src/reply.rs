//! Typed replies. Command handlers say *what* they answer; a sink decides how it looks on the wire.
//!
//! `kora-net` has one sink for RESP2 and RESP3, the embedded library has one that builds values. Handlers
//! take `&mut dyn Reply`: one indirect call per reply element (about 3 instructions more than a direct
//! one), which buys a single copy of every handler instead of one per sink.

use bytes::Bytes;

/// Which protocol the receiver of a reply speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Protocol {
    /// RESP2, what a connection starts with.
    #[default]
    Resp2 = 2,
    /// RESP3, after `HELLO 3`.
    Resp3 = 3,
}

/// A sink of one reply. Aggregates announce their length first, then their elements follow.
pub trait Reply {
    /// The protocol of the receiver: for the few commands whose *content* depends on it.
    fn protocol(&self) -> Protocol;
    /// A simple string: no CR or LF in it.
    fn simple(&mut self, text: &str);
    /// `+OK`.
    fn ok(&mut self) {
        self.simple("OK");
    }
    /// An error. `text` starts with its code (`ERR`, `WRONGTYPE`, ...). CR and LF in it are replaced by
    /// spaces, so a client's own bytes quoted in an error cannot forge a reply.
    fn error(&mut self, text: &[u8]);
    /// An integer.
    fn integer(&mut self, value: i64);
    /// A bulk string.
    fn bulk(&mut self, bytes: &[u8]);
    /// A bulk string that the sink may keep by reference instead of copying.
    fn bulk_shared(&mut self, bytes: &Bytes) {
        self.bulk(bytes);
    }
    /// A bulk string holding the decimal text of an integer.
    fn bulk_int(&mut self, value: i64) {
        let mut text = itoa::Buffer::new();
        self.bulk(text.format(value).as_bytes());
    }
    /// The absent value: `$-1` or `_`.
    fn null(&mut self);
    /// The absent array: `*-1` or `_`.
    fn null_array(&mut self);
    /// An array of `len` elements, which follow.
    fn array(&mut self, len: usize);
    /// A map of `pairs` keys and values, which follow in turn; RESP2 sees a flat array.
    fn map(&mut self, pairs: usize);
    /// A set of `len` elements, which follow; RESP2 sees an array.
    fn set(&mut self, len: usize);
    /// An out-of-band push of `len` elements, which follow; RESP2 sees an array.
    fn push(&mut self, len: usize);
    /// A double; RESP2 sees its text as a bulk string.
    fn double(&mut self, value: f64);
    /// A boolean; RESP2 sees 1 or 0.
    fn boolean(&mut self, value: bool);
    /// Text with a three-letter format (`txt`, `mkd`); RESP2 sees a bulk string.
    fn verbatim(&mut self, format: &str, text: &[u8]);
    /// Already encoded reply elements, written by another sink of the same protocol.
    fn raw(&mut self, encoded: &[u8]);
}

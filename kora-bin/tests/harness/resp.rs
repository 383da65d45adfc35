//! A client that speaks RESP2 and RESP3 and hides nothing: every reply comes with its bytes as received.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long to wait for a reply before calling it missing.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// One reply, typed as on the wire. Texts of numbers that have more than one spelling are kept as sent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// RESP2 `$-1`
    NilBulk,
    /// RESP2 `*-1`
    NilArray,
    /// RESP3 `_`
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Double(Vec<u8>),
    Bool(bool),
    BigNumber(Vec<u8>),
    BlobError(Vec<u8>),
    /// The three letters of the format, and the text.
    Verbatim(Vec<u8>, Vec<u8>),
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

/// Strings as text: what an assertion shows is read by people.
impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut string = |kind: &str, text: &[u8]| write!(out, "{kind}(\"{}\")", text.escape_ascii());
        match self {
            Value::Simple(text) => string("Simple", text),
            Value::Error(text) => string("Error", text),
            Value::Bulk(text) => string("Bulk", text),
            Value::Double(text) => string("Double", text),
            Value::BigNumber(text) => string("BigNumber", text),
            Value::BlobError(text) => string("BlobError", text),
            Value::Verbatim(_, text) => string("Verbatim", text),
            Value::Int(number) => write!(out, "Int({number})"),
            Value::Bool(truth) => write!(out, "Bool({truth})"),
            Value::NilBulk => out.write_str("NilBulk"),
            Value::NilArray => out.write_str("NilArray"),
            Value::Null => out.write_str("Null"),
            Value::Array(items) => out.debug_list().entries(items).finish(),
            Value::Set(items) => out.debug_tuple("Set").field(items).finish(),
            Value::Push(items) => out.debug_tuple("Push").field(items).finish(),
            Value::Map(pairs) => {
                out.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish()
            }
            Value::Attribute(pairs, value) => out.debug_tuple("Attribute").field(pairs).field(value).finish(),
        }
    }
}

impl Value {
    /// The bytes of a string of any kind.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Error(text) | Value::Bulk(text) | Value::Double(text) => Some(text),
            Value::Verbatim(_, text) | Value::BlobError(text) | Value::BigNumber(text) => Some(text),
            _ => None,
        }
    }

    /// A string of any kind as text; panics on anything else.
    pub fn text(&self) -> String {
        match self.bytes() {
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            None => panic!("a string was expected, not {self:?}"),
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    /// The elements of an array, set or push.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BlobError(_))
    }
}

/// A reply and the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub value: Value,
    pub raw: Vec<u8>,
}

/// Reads one reply. `InvalidData` when the bytes are not RESP; `UnexpectedEof` when they end too soon.
pub fn read_reply(input: &mut impl BufRead) -> io::Result<Reply> {
    let mut raw = Vec::new();
    let value = read_value(input, &mut raw)?;
    Ok(Reply { value, raw })
}

fn read_value(input: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<Value> {
    let line = read_line(input, raw)?;
    let invalid = |what: &str| {
        let line = String::from_utf8_lossy(&line).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {line:?}"))
    };
    let (&kind, rest) = line.split_first().ok_or_else(|| invalid("an empty line is no reply"))?;
    let number = || -> io::Result<i64> {
        let text = std::str::from_utf8(rest).ok().filter(|text| !text.starts_with('+'));
        text.and_then(|text| text.parse().ok()).ok_or_else(|| invalid("not a number"))
    };
    let length = || number().and_then(|n| usize::try_from(n).map_err(|_| invalid("negative length")));
    Ok(match kind {
        b'+' => Value::Simple(rest.to_vec()),
        b'-' => Value::Error(rest.to_vec()),
        b':' => Value::Int(number()?),
        b'$' if rest == b"-1" => Value::NilBulk,
        b'*' if rest == b"-1" => Value::NilArray,
        b'_' if rest.is_empty() => Value::Null,
        b'$' => Value::Bulk(read_blob(input, raw, length()?)?),
        b'!' => Value::BlobError(read_blob(input, raw, length()?)?),
        b'=' => {
            let blob = read_blob(input, raw, length()?)?;
            if blob.get(3) != Some(&b':') {
                return Err(invalid("a verbatim string without its format"));
            }
            Value::Verbatim(blob[..3].to_vec(), blob[4..].to_vec())
        }
        b'*' => Value::Array(read_values(input, raw, length()?)?),
        b'~' => Value::Set(read_values(input, raw, length()?)?),
        b'>' => Value::Push(read_values(input, raw, length()?)?),
        b'%' => Value::Map(read_pairs(input, raw, length()?)?),
        b'|' => {
            let attributes = read_pairs(input, raw, length()?)?;
            Value::Attribute(attributes, Box::new(read_value(input, raw)?))
        }
        b',' => Value::Double(rest.to_vec()),
        b'(' => Value::BigNumber(rest.to_vec()),
        b'#' if rest == b"t" => Value::Bool(true),
        b'#' if rest == b"f" => Value::Bool(false),
        _ => return Err(invalid("not a reply")),
    })
}

fn read_values(input: &mut impl BufRead, raw: &mut Vec<u8>, count: usize) -> io::Result<Vec<Value>> {
    (0..count).map(|_| read_value(input, raw)).collect()
}

fn read_pairs(input: &mut impl BufRead, raw: &mut Vec<u8>, count: usize) -> io::Result<Vec<(Value, Value)>> {
    (0..count).map(|_| Ok((read_value(input, raw)?, read_value(input, raw)?))).collect()
}

fn read_line(input: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let start = raw.len();
    input.read_until(b'\n', raw)?;
    match raw[start..].strip_suffix(b"\r\n") {
        Some(line) => Ok(line.to_vec()),
        None if raw.ends_with(b"\n") => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a line that ends in LF alone"))
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_blob(input: &mut impl BufRead, raw: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let start = raw.len();
    if input.take(length as u64 + 2).read_to_end(raw)? != length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match raw[start..].strip_suffix(b"\r\n") {
        Some(blob) => Ok(blob.to_vec()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a blob that does not end in CRLF")),
    }
}

/// The arguments as one RESP array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments.iter().map(AsRef::as_ref) {
        frame.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        frame.extend_from_slice(argument);
        frame.extend_from_slice(b"\r\n");
    }
    frame
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buffer),
            Stream::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    input: BufReader<Stream>,
}

impl Client {
    pub fn connect_to(address: impl Into<SocketAddr>) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address.into(), REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Client::on(Stream::Tcp(stream))
    }

    pub fn connect_unix(path: &Path) -> io::Result<Client> {
        Client::on(Stream::Unix(UnixStream::connect(path)?))
    }

    fn on(stream: Stream) -> io::Result<Client> {
        stream.set_timeout(REPLY_TIMEOUT)?;
        Ok(Client { input: BufReader::new(stream) })
    }

    /// The address of this end, as CLIENT LIST shows it under `addr`.
    pub fn local_address(&self) -> SocketAddr {
        match self.input.get_ref() {
            Stream::Tcp(stream) => stream.local_addr().expect("a connected socket has an address"),
            Stream::Unix(_) => panic!("a Unix socket has no address"),
        }
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.get_mut().write_all(bytes)
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        self.send_raw(&encode(arguments))
    }

    /// The next reply; an error of kind `UnexpectedEof` when the server has closed.
    pub fn read(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.input)
    }

    /// Sends the words of a command and reads its reply; panics when there is none.
    pub fn command(&mut self, words: &str) -> Value {
        let words: Vec<&str> = words.split(' ').collect();
        self.call(&words)
    }

    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        let name = String::from_utf8_lossy(arguments[0].as_ref()).into_owned();
        self.send(arguments).unwrap_or_else(|error| panic!("{name} is sent: {error}"));
        self.read().unwrap_or_else(|error| panic!("{name} is answered: {error}")).value
    }

    /// Sends all commands in one write, then reads all replies.
    pub fn pipeline(&mut self, commands: &[&str]) -> Vec<Value> {
        let frames: Vec<u8> =
            commands.iter().flat_map(|words| encode(&words.split(' ').collect::<Vec<_>>())).collect();
        self.send_raw(&frames).expect("the pipeline is sent");
        commands.iter().map(|words| self.read().unwrap_or_else(|e| panic!("{words}: {e}")).value).collect()
    }

    /// Everything until the server closes. An error of kind `TimedOut` when it does not within the reply timeout.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.input.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("still open after {shown:?}")))
            }
            // A server that closes with unread input resets the connection; what it said first still counts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(bytes),
            Err(error) => Err(error),
        }
    }

    /// Whether the server has sent something by now that was not read.
    pub fn has_unread(&mut self) -> bool {
        self.peek().is_ok_and(|bytes| bytes > 0)
    }

    /// The same, or it has closed the connection.
    pub fn has_unread_or_is_closed(&mut self) -> bool {
        match self.peek() {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Bytes that can be read at once; 0 at the end of the stream, `WouldBlock` when there is nothing yet.
    fn peek(&mut self) -> io::Result<usize> {
        if self.input.buffer().is_empty() {
            self.input.get_ref().set_timeout(Duration::from_millis(1))?;
            let peeked = self.input.fill_buf().map(<[u8]>::len);
            self.input.get_ref().set_timeout(REPLY_TIMEOUT)?;
            return peeked;
        }
        Ok(self.input.buffer().len())
    }

    pub fn set_timeout(&mut self, timeout: Duration) {
        self.input.get_ref().set_timeout(timeout).expect("a timeout is set");
    }

    /// Ends this side's sending; replies can still be read.
    pub fn finish_sending(&mut self) {
        match self.input.get_ref() {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write).expect("the sending side is closed"),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write).expect("the sending side is closed"),
        }
    }
}

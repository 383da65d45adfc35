//! A plain blocking client, for what happens before and after the load: AUTH, HELLO, CLUSTER SLOTS, DBSIZE.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use crate::endpoint::{Endpoint, Stream};
use crate::Error;

/// A reply, as deep as it comes; maps, sets and pushes are arrays of their elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(Vec<u8>),
    Array(Vec<Value>),
    Error(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => write!(f, "null"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Text(text) => write!(f, "\"{}\"", String::from_utf8_lossy(text)),
            Value::Array(items) => write!(f, "an array of {}", items.len()),
            Value::Error(text) => write!(f, "{text}"),
        }
    }
}

/// How a connection introduces itself.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Switch to RESP3 by `HELLO 3`.
    pub resp3: bool,
    /// The default user's password.
    pub password: Option<String>,
}

pub(crate) struct Client {
    stream: BufReader<Stream>,
    endpoint: Endpoint,
}

/// Aggregates in each other; no setup command's reply is nested deeper.
const DEPTH_MAX: usize = 32;
const LENGTH_MAX: usize = 64 << 20;

impl Client {
    /// Connects, introduces the session, and makes sure by PING that the server has taken the connection up.
    pub(crate) fn connect(endpoint: &Endpoint, session: &Session) -> Result<Client, Error> {
        let fail = |source| Error::Connect { endpoint: endpoint.to_string(), source };
        let stream = endpoint.connect().map_err(fail)?;
        stream.set_read_timeout(Duration::from_secs(10)).map_err(fail)?;
        let mut client = Client { stream: BufReader::new(stream), endpoint: endpoint.clone() };
        if let Some(password) = &session.password {
            client.expect("AUTH", &[b"AUTH", password.as_bytes()])?;
        }
        if session.resp3 {
            client.expect("HELLO 3", &[b"HELLO", b"3"])?;
        }
        client.expect("PING", &[b"PING"])?;
        Ok(client)
    }

    /// The stream, for the load; all replies so far have been read.
    pub(crate) fn into_stream(self) -> Stream {
        assert!(self.stream.buffer().is_empty(), "a reply nobody asked for");
        self.stream.into_inner()
    }

    /// Calls a command that must not fail. `name` is what an error calls it.
    pub(crate) fn expect(&mut self, name: &str, arguments: &[&[u8]]) -> Result<Value, Error> {
        match self.call(arguments)? {
            Value::Error(reply) => Err(Error::Refused { command: name.into(), reply }),
            value => Ok(value),
        }
    }

    pub(crate) fn call(&mut self, arguments: &[&[u8]]) -> Result<Value, Error> {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        let sent = self.stream.get_mut().write_all(&request);
        sent.map_err(|e| self.lost(e))?;
        loop {
            let (value, is_reply) = self.value(0)?;
            if is_reply {
                return Ok(value);
            }
        }
    }

    /// Sends requests that are written already and gives `f` the replies. None may fail; `name` is what an error
    /// calls them.
    pub(crate) fn pipeline(
        &mut self,
        name: &str,
        requests: &[u8],
        replies: usize,
        f: &mut dyn FnMut(Value),
    ) -> Result<(), Error> {
        let sent = self.stream.get_mut().write_all(requests);
        sent.map_err(|e| self.lost(e))?;
        let mut left = replies;
        while left > 0 {
            let (value, is_reply) = self.value(0)?;
            if let Value::Error(reply) = value {
                return Err(Error::Refused { command: name.into(), reply });
            }
            if is_reply {
                left -= 1;
                f(value);
            }
        }
        Ok(())
    }

    /// One value, and whether it is a reply (attributes and pushes are none).
    fn value(&mut self, depth: usize) -> Result<(Value, bool), Error> {
        let line = self.line()?;
        let Some((&kind, text)) = line.split_first() else {
            return Err(self.not_resp("an empty line"));
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let value = match kind {
            b'+' | b',' | b'(' | b'#' => Value::Text(text.into_bytes()),
            b'-' => Value::Error(text),
            b':' => Value::Int(text.parse().map_err(|_| self.not_resp(&text))?),
            b'_' => Value::Null,
            b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'>' | b'|' if text == "-1" => Value::Null,
            b'$' | b'=' | b'!' => {
                let length = self.length(&text)?;
                let mut bytes = vec![0; length + 2];
                let got = self.stream.read_exact(&mut bytes);
                got.map_err(|e| self.lost(e))?;
                bytes.truncate(length);
                match kind {
                    b'!' => Value::Error(String::from_utf8_lossy(&bytes).into_owned()),
                    _ => Value::Text(bytes),
                }
            }
            b'*' | b'~' | b'%' | b'>' | b'|' => {
                let per = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let count = self.length(&text)? * per;
                if depth == DEPTH_MAX {
                    return Err(self.not_resp("too many aggregates in each other"));
                }
                let mut items = Vec::new();
                while items.len() < count {
                    let (item, is_reply) = self.value(depth + 1)?;
                    if is_reply {
                        items.push(item);
                    }
                }
                return Ok((Value::Array(items), !matches!(kind, b'>' | b'|')));
            }
            _ => return Err(self.not_resp(&String::from_utf8_lossy(&line))),
        };
        Ok((value, true))
    }

    fn line(&mut self) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        read.map_err(|e| self.lost(e))?;
        match line.as_slice() {
            [text @ .., b'\r', b'\n'] => Ok(text.to_vec()),
            [] => Err(Error::Lost {
                endpoint: self.endpoint.to_string(),
                detail: "the server closed the connection".into(),
            }),
            _ => Err(self.not_resp(&String::from_utf8_lossy(&line))),
        }
    }

    fn length(&self, text: &str) -> Result<usize, Error> {
        text.parse().ok().filter(|&n| n <= LENGTH_MAX).ok_or_else(|| self.not_resp(text))
    }

    fn lost(&self, source: std::io::Error) -> Error {
        Error::Lost { endpoint: self.endpoint.to_string(), detail: format!("no reply: {source}") }
    }

    fn not_resp(&self, detail: &str) -> Error {
        Error::Protocol { endpoint: self.endpoint.to_string(), detail: format!("{detail:?}") }
    }
}

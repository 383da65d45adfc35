//! What a reply looks like, for the tests of this folder: one word per element, RESP without lengths and line ends.

use crate::resp::encode::{Output, RespSink};
use kora_engine::error::Error;
use kora_engine::reply::{Protocol, Reply};

fn encoded(protocol: Protocol, write: impl FnOnce(&mut dyn Reply)) -> Vec<u8> {
    let mut output = Output::default();
    write(&mut RespSink::new(&mut output, protocol));
    output.flatten()
}

/// The elements of one reply, each with its type byte. Panics unless it is exactly one well-formed reply.
fn elements(mut bytes: &[u8]) -> Vec<String> {
    let mut elements = Vec::new();
    let mut missing = 1usize;
    while missing > 0 {
        missing -= 1;
        let end = bytes.windows(2).position(|w| w == b"\r\n").expect("a line");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("UTF-8");
        bytes = &bytes[end + 2..];
        let len = head[1..].parse::<i64>();
        match (head.as_bytes()[0], len) {
            (b'$' | b'=', Ok(len)) if len >= 0 => {
                let body = String::from_utf8(bytes[..len as usize].to_vec()).expect("UTF-8");
                assert_eq!(&bytes[len as usize..len as usize + 2], b"\r\n");
                bytes = &bytes[len as usize + 2..];
                elements.push(format!("{}{body}", &head[..1]));
                continue;
            }
            (b'*' | b'~' | b'>', Ok(len)) if len > 0 => missing += len as usize,
            (b'%', Ok(len)) => missing += 2 * len as usize,
            _ => {}
        }
        elements.push(head);
    }
    assert!(bytes.is_empty(), "one reply only, but then came {:?}", String::from_utf8_lossy(bytes));
    elements
}

/// The elements of a RESP2 reply.
pub(crate) fn lines(write: impl FnOnce(&mut dyn Reply)) -> Vec<String> {
    elements(&encoded(Protocol::Resp2, write))
}

/// The elements of a RESP2 reply, joined by spaces.
pub(crate) fn resp2(write: impl FnOnce(&mut dyn Reply)) -> String {
    lines(write).join(" ")
}

/// The elements of a RESP3 reply, joined by spaces.
pub(crate) fn resp3(write: impl FnOnce(&mut dyn Reply)) -> String {
    elements(&encoded(Protocol::Resp3, write)).join(" ")
}

/// The RESP2 reply of something that may fail instead.
pub(crate) fn run(write: impl FnOnce(&mut dyn Reply) -> Result<(), Error>) -> Result<String, Error> {
    let mut result = Ok(());
    let bytes = encoded(Protocol::Resp2, |reply| result = write(reply));
    result.map(|()| elements(&bytes).join(" "))
}

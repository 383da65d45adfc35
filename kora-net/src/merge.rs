//! Puts the encoded replies of several shards together into one.
//!
//! Works on the encoding: the parts come from our own sinks, so their form is known, and nothing has to be
//! decoded into values and encoded again.

use crate::resp::encode::Output;
use kora_engine::command::Merge;

/// One reply from the replies of the parts. `order` names, for [`Merge::Gather`], the part of each element.
/// An error in any part is the answer.
pub fn merge(how: Merge, parts: &mut [Output], order: &[u16]) -> Output {
    let mut parts: Vec<Vec<u8>> = parts.iter_mut().map(Output::flatten).collect();
    let mut merged = Output::default();
    if let Some(error) = parts.iter_mut().find(|part| part.first() == Some(&b'-')) {
        merged.buf = std::mem::take(error);
        return merged;
    }
    match how {
        Merge::AllOk => merged.buf = parts.swap_remove(0),
        Merge::Sum => {
            let sum: i64 = parts.iter().map(|part| header(part).0).sum();
            merged.buf = format!(":{sum}\r\n").into_bytes();
        }
        Merge::Concat => {
            let total: i64 = parts.iter().map(|part| header(part).0).sum();
            merged.buf = format!("{}{total}\r\n", parts[0][0] as char).into_bytes();
            for part in &parts {
                merged.buf.extend_from_slice(&part[header(part).1..]);
            }
        }
        Merge::Gather => {
            let mut at: Vec<usize> = parts.iter().map(|part| header(part).1).collect();
            let total = parts.iter().map(Vec::len).sum::<usize>();
            merged.buf.reserve(total);
            merged.buf.extend_from_slice(format!("*{}\r\n", order.len()).as_bytes());
            for &part in order {
                let part = part as usize;
                let len = element_len(&parts[part][at[part]..]);
                merged.buf.extend_from_slice(&parts[part][at[part]..at[part] + len]);
                at[part] += len;
            }
        }
    }
    merged
}

/// The number in the first line, and the length of that line.
fn header(encoded: &[u8]) -> (i64, usize) {
    let end = memchr::memchr(b'\r', encoded).expect("a whole reply has a line end");
    (kora_engine::args::parse_i64(&encoded[1..end]).expect("a length or an integer"), end + 2)
}

/// Length of the first element: a bulk string, an integer or a null.
fn element_len(encoded: &[u8]) -> usize {
    match encoded[0] {
        b'$' => match header(encoded) {
            (-1, line) => line,
            (len, line) => line + len as usize + 2,
        },
        _ => memchr::memchr(b'\n', encoded).expect("a whole element has a line end") + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(how: Merge, parts: &[&str], order: &[u16]) -> String {
        let part = |text: &&str| {
            let mut part = Output::default();
            part.buf.extend_from_slice(text.as_bytes());
            part
        };
        let mut parts: Vec<Output> = parts.iter().map(part).collect();
        String::from_utf8(merge(how, &mut parts, order).flatten()).unwrap()
    }

    #[test]
    fn parts_become_one_reply() {
        assert_eq!(merged(Merge::Sum, &[":1\r\n", ":20\r\n"], &[]), ":21\r\n");
        assert_eq!(merged(Merge::AllOk, &["+OK\r\n", "+OK\r\n"], &[]), "+OK\r\n");
        assert_eq!(
            merged(Merge::Concat, &["*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n$1\r\nb\r\n$0\r\n\r\n"], &[]),
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$0\r\n\r\n"
        );
        assert_eq!(
            merged(Merge::Gather, &["*2\r\n$1\r\na\r\n$-1\r\n", "*1\r\n$4\r\n\r\n*1\r\n"], &[1, 0, 0]),
            "*3\r\n$4\r\n\r\n*1\r\n$1\r\na\r\n$-1\r\n"
        );
        assert_eq!(
            merged(Merge::Gather, &["*1\r\n_\r\n", "*1\r\n$1\r\nx\r\n"], &[0, 1]),
            "*2\r\n_\r\n$1\r\nx\r\n"
        );
    }

    #[test]
    fn an_error_of_one_part_is_the_answer() {
        assert_eq!(merged(Merge::AllOk, &["+OK\r\n", "-ERR no\r\n"], &[]), "-ERR no\r\n");
    }
}

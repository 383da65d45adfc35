//! Inline commands: a line of words, quoted as in redis-cli.

/// The line ends inside quotes, or a closing quote is followed by something else than a space.
#[derive(Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// Splits a line into words. In double quotes `\n \r \t \b \a \\ \" \xHH` are escapes; in single quotes only `\'` is.
pub fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && is_space(line[at]) {
            at += 1;
        }
        if at == line.len() {
            return Ok(words);
        }
        let mut word = Vec::new();
        at = read_word(line, at, &mut word)?;
        words.push(word);
    }
}

/// C's isspace, and the end of text that Redis's C strings have at a zero byte.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

fn read_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    while at < line.len() && !is_space(line[at]) {
        match line[at] {
            b'"' => {
                at = read_double_quoted(line, at + 1, word)?;
                return after_quote(line, at);
            }
            b'\'' => {
                at = read_single_quoted(line, at + 1, word)?;
                return after_quote(line, at);
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Ok(at)
}

fn after_quote(line: &[u8], at: usize) -> Result<usize, Unbalanced> {
    match line.get(at) {
        None => Ok(at),
        Some(&byte) if is_space(byte) => Ok(at),
        Some(_) => Err(Unbalanced),
    }
}

fn read_double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        match (line.get(at), line.get(at + 1)) {
            (None, _) => return Err(Unbalanced),
            (Some(b'"'), _) => return Ok(at + 1),
            (Some(b'\\'), Some(&escape)) => {
                let hex = |i: usize| line.get(i).and_then(|&b| (b as char).to_digit(16));
                if escape == b'x' {
                    if let (Some(high), Some(low)) = (hex(at + 2), hex(at + 3)) {
                        word.push((high * 16 + low) as u8);
                        at += 4;
                        continue;
                    }
                }
                word.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            (Some(&byte), _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn read_single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        match (line.get(at), line.get(at + 1)) {
            (None, _) => return Err(Unbalanced),
            (Some(b'\''), _) => return Ok(at + 1),
            (Some(b'\\'), Some(b'\'')) => {
                word.push(b'\'');
                at += 2;
            }
            (Some(&byte), _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, Unbalanced> {
        Ok(split_words(line.as_bytes())?
            .into_iter()
            .map(|w| String::from_utf8_lossy(&w).into_owned())
            .collect())
    }

    #[test]
    fn words_are_split_as_redis_splits_them() {
        assert_eq!(words("  set  a b "), Ok(vec!["set".into(), "a".into(), "b".into()]));
        assert_eq!(words(""), Ok(vec![]));
        assert_eq!(words(r#"set k "a b\n\x41\q""#), Ok(vec!["set".into(), "k".into(), "a b\nAq".into()]));
        assert_eq!(words(r"set k 'a \' \n b'"), Ok(vec!["set".into(), "k".into(), r"a ' \n b".into()]));
        assert_eq!(words(r#"set k ab"cd""#), Ok(vec!["set".into(), "k".into(), "abcd".into()]));
        assert_eq!(words(r#""""#), Ok(vec!["".into()]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"set k "a"#, "set k 'a", r#"set k "a"b"#, "set k 'a'b", r#"set k "a\"#] {
            assert_eq!(words(line), Err(Unbalanced), "{line}");
        }
    }
}

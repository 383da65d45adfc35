//! Glob patterns as KEYS, SCAN MATCH, CONFIG GET and PSUBSCRIBE read them.
//!
//! `*` is any run of bytes, `?` any byte, `[a-z]` a set, `[^a]` its complement, `\` takes the next byte as it is. The odd
//! corners are those of Redis's matcher, because clients rely on them without knowing: a set that is not closed ends
//! with the pattern, a reversed range is turned round, an escaped byte in a set keeps its case, and an empty text matches
//! only an empty pattern (so `**` does not find the empty key; `*` alone does, as KEYS and SCAN take it for "everything").
//!
//! Redis tries every tail of the text behind a star by recursion. Here a mismatch goes back to the latest star
//! only: each other element of a pattern takes exactly one byte, so if the elements behind the latest star do not fit
//! after the leftmost place where those before it did, moving an earlier star cannot help. The cost is at most
//! pattern times text, whatever the pattern, without recursion. (So Redis's limit of 1000 nested stars is not needed.)
//! Bytes are compared as unsigned numbers in ranges.

/// Whether `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    search::<false>(pattern, text)
}

/// Whether `text` matches `pattern` when ASCII letters are taken for the same in either case.
pub fn matches_nocase(pattern: &[u8], text: &[u8]) -> bool {
    search::<true>(pattern, text)
}

/// A pattern that will be asked often: what it is was found out once.
#[derive(Debug, Clone)]
pub struct Glob {
    pattern: Box<[u8]>,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `*`
    Everything,
    /// No special byte at all.
    Literal,
    /// `literal*`
    Prefix,
    /// Anything else.
    General,
}

impl Glob {
    /// Takes any bytes: there is no invalid pattern.
    pub fn new(pattern: &[u8]) -> Glob {
        let special = |b: &u8| matches!(b, b'*' | b'?' | b'[' | b'\\');
        let shape = match pattern {
            b"*" => Shape::Everything,
            [literal @ .., b'*'] if !literal.iter().any(special) => Shape::Prefix,
            _ if !pattern.iter().any(special) => Shape::Literal,
            _ => Shape::General,
        };
        Glob { pattern: pattern.into(), shape }
    }

    /// The one text that matches, when the pattern has no wildcard.
    pub fn literal(&self) -> Option<&[u8]> {
        (self.shape == Shape::Literal).then_some(&self.pattern[..])
    }

    /// Whether every text matches.
    pub fn is_everything(&self) -> bool {
        self.shape == Shape::Everything
    }

    /// Whether `text` matches, with regard to case.
    #[inline]
    pub fn matches(&self, text: &[u8]) -> bool {
        match self.shape {
            Shape::Everything => true,
            Shape::Literal => *text == *self.pattern,
            Shape::Prefix => text.starts_with(&self.pattern[..self.pattern.len() - 1]),
            Shape::General => matches(&self.pattern, text),
        }
    }
}

fn search<const NOCASE: bool>(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where the pattern goes on behind the latest star, and where in the text that was last tried.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            star = Some((p, t));
            continue;
        }
        match element::<NOCASE>(&pattern[p..], text[t]) {
            Some(len) => {
                p += len;
                t += 1;
            }
            None => {
                let Some((behind, tried)) = star else { return false };
                star = Some((behind, tried + 1));
                (p, t) = (behind, tried + 1);
            }
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Whether the first element of the pattern, which is not a star, takes this byte; if so, its length. An empty pattern
/// takes none.
#[inline]
fn element<const NOCASE: bool>(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => set::<NOCASE>(pattern, byte),
        [b'\\', escaped, ..] => (fold::<NOCASE>(escaped) == fold::<NOCASE>(byte)).then_some(2),
        [literal, ..] => (fold::<NOCASE>(literal) == fold::<NOCASE>(byte)).then_some(1),
    }
}

/// The same for a pattern that starts with `[`.
fn set<const NOCASE: bool>(pattern: &[u8], byte: u8) -> Option<usize> {
    let folded = fold::<NOCASE>(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = 1 + negated as usize;
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [start, b'-', end, ..] => {
                // Turned round before it is folded, and compared as it is then: `[a-Z]` under folding is empty.
                let (start, end) = (start.min(end), start.max(end));
                found |= (fold::<NOCASE>(start)..=fold::<NOCASE>(end)).contains(&folded);
                at += 3;
            }
            [literal, ..] => {
                found |= fold::<NOCASE>(literal) == folded;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[inline]
fn fold<const NOCASE: bool>(byte: u8) -> u8 {
    if NOCASE {
        byte.to_ascii_lowercase()
    } else {
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The twin: what the elements mean, by recursion over all ways a star can be read. Exponential.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        fn rest(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
            match (pattern, text) {
                ([], _) => text.is_empty(),
                ([b'*', tail @ ..], _) => (0..=text.len()).any(|n| rest(tail, &text[n..], nocase)),
                (_, []) => false,
                (_, [byte, after @ ..]) => {
                    let taken = if nocase {
                        element::<true>(pattern, *byte)
                    } else {
                        element::<false>(pattern, *byte)
                    };
                    taken.is_some_and(|len| rest(&pattern[len..], after, nocase))
                }
            }
        }
        if text.is_empty() {
            pattern.is_empty()
        } else {
            rest(pattern, text, nocase)
        }
    }

    #[test]
    fn the_corners_are_those_of_redis() {
        // Each was asked of redis-server 7.0 by KEYS with one key in the database.
        for (pattern, text, expected) in [
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxaxxbx", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("[a-]", "-", false),
            ("[a-]", "^", true),
            ("[a-]", "a", true),
            ("[a-]", "b", false),
            ("[]", "a", false),
            ("[]a]", "]", false),
            ("[^]a", "xa", true),
            ("[ab", "a", true),
            ("[ab", "b", true),
            ("[", "[", false),
            ("[^", "x", true),
            ("[a\\", "\\", true),
            ("[\\]]", "]", true),
            ("[\\-a]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("\\\\", "\\", true),
            ("**", "", false),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} on {text:?}");
            assert_eq!(
                Glob::new(pattern.as_bytes()).matches(text.as_bytes()),
                expected,
                "{pattern:?} on {text:?}"
            );
        }
        assert!(Glob::new(b"*").matches(b""));
    }

    #[test]
    fn case_is_ignored_outside_escapes_in_sets() {
        assert!(matches_nocase(b"MaxMem*", b"maxmemory"));
        assert!(matches_nocase(b"[A-C]x", b"bX"));
        assert!(matches_nocase(b"\\A", b"a"));
        assert!(!matches_nocase(b"[\\A]", b"a"));
        assert!(!matches(b"A", b"a"));
    }

    #[test]
    fn many_stars_cost_pattern_times_text_not_a_power_of_it() {
        let text = vec![b'a'; 20_000];
        let pattern = [b"a*".repeat(50), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text));
        let pattern = b"*a".repeat(2000);
        assert!(matches(&pattern, &text));
    }

    /// Bytes of which most mean something to a pattern, so that short random ones meet every branch.
    fn busy_bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(&b"aabbcA*?[]^-\\\xff"[..]);
        prop::collection::vec(byte, 0..max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn agrees_with_the_naive_matcher(pattern in busy_bytes(10), text in busy_bytes(8)) {
            prop_assert_eq!(matches(&pattern, &text), naive(&pattern, &text, false));
            prop_assert_eq!(matches_nocase(&pattern, &text), naive(&pattern, &text, true));
        }

        #[test]
        fn a_prepared_pattern_is_the_same_pattern(pattern in busy_bytes(6), text in busy_bytes(6)) {
            prop_assume!(pattern != b"*");
            prop_assert_eq!(Glob::new(&pattern).matches(&text), matches(&pattern, &text));
        }
    }
}

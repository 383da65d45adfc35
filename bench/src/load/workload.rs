//! What is sent: ready-made requests and the order in which they come.

use std::str::FromStr;

use crate::keys::KeySpace;
use crate::Error;

/// SETs for every so many GETs, in a fixed cycle (each connection begins at another point of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// SETs per cycle.
    pub sets: u32,
    /// GETs per cycle.
    pub gets: u32,
}

/// Longest cycle of SETs and GETs.
const CYCLE_MAX: u32 = 1_000;

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Ratio, String> {
        let parts = text.split_once(':').and_then(|(s, g)| Some((s.parse().ok()?, g.parse().ok()?)));
        match parts {
            Some((0, 0)) => Err("0:0 asks for nothing; write SET:GET, such as 1:10".into()),
            Some((sets, gets)) if sets <= CYCLE_MAX && gets <= CYCLE_MAX => Ok(Ratio { sets, gets }),
            Some(_) => Err(format!("\"{text}\" has a part above {CYCLE_MAX}")),
            None => Err(format!("\"{text}\" is no ratio; write SET:GET, such as 1:10")),
        }
    }
}

/// One command as bytes, all but the digits of its keys.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the numbers of keys are.
    numbers: Vec<usize>,
    /// Where random numbers are, of as many digits as those of keys.
    randoms: Vec<usize>,
    /// The first argument with a key in it, and where its numbers are: what decides the slot.
    routed: Option<(Vec<u8>, Vec<usize>)>,
}

impl Template {
    /// `__key__`, `__data__` and `__random__` may stand anywhere in an argument.
    pub(crate) fn new(arguments: &[Vec<u8>], space: &KeySpace, data: &[u8]) -> Template {
        let (key, number_at) = space.blank();
        let mut template = Template {
            bytes: format!("*{}\r\n", arguments.len()).into_bytes(),
            numbers: Vec::new(),
            randoms: Vec::new(),
            routed: None,
        };
        for argument in arguments {
            let mut text = Vec::new();
            let mut numbers = Vec::new();
            let mut randoms = Vec::new();
            let mut rest = argument.as_slice();
            while !rest.is_empty() {
                if let Some(after) = rest.strip_prefix(b"__key__") {
                    numbers.push(text.len() + number_at);
                    text.extend_from_slice(&key);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix(b"__random__") {
                    randoms.push(text.len());
                    text.resize(text.len() + key.len() - number_at, b'0');
                    rest = after;
                } else if let Some(after) = rest.strip_prefix(b"__data__") {
                    text.extend_from_slice(data);
                    rest = after;
                } else {
                    text.push(rest[0]);
                    rest = &rest[1..];
                }
            }
            template.bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            let begin = template.bytes.len();
            template.bytes.extend_from_slice(&text);
            template.bytes.extend_from_slice(b"\r\n");
            template.numbers.extend(numbers.iter().map(|at| begin + at));
            template.randoms.extend(randoms.iter().map(|at| begin + at));
            if template.routed.is_none() && !numbers.is_empty() {
                template.routed = Some((text, numbers));
            }
        }
        template
    }

    /// Appends the request for key `id`. All `__key__` of one request are the same key, each `__random__` is another number
    /// below the number of keys.
    #[inline]
    pub(crate) fn append(&self, id: u64, space: &KeySpace, rng: &mut fastrand::Rng, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        for at in &self.numbers {
            space.write_number(id, out, begin + at);
        }
        for at in &self.randoms {
            space.write_number(rng.u64(..space.count()), out, begin + at);
        }
    }

    /// The argument that decides the slot for key `id`; `None` for a command without keys.
    pub(crate) fn routed_key(&self, id: u64, space: &KeySpace) -> Option<Vec<u8>> {
        let (mut argument, numbers) = self.routed.clone()?;
        for at in numbers {
            space.write_number(id, &mut argument, at);
        }
        Some(argument)
    }
}

/// The commands of a run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The keys.
    pub keys: KeySpace,
    /// Templates, each with how many times in a row it comes per cycle.
    commands: Vec<(Template, u32)>,
    /// All connections begin with the first; otherwise each begins somewhere else.
    pub(crate) in_step: bool,
}

/// `size` bytes that are neither a number nor compressible by a run-length; the same in every run.
fn data(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(0x6b6f7261);
    (0..size).map(|_| rng.alphanumeric() as u8).collect()
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

impl Workload {
    /// SETs and GETs of values of `value_size` bytes.
    pub fn mix(keys: KeySpace, ratio: Ratio, value_size: usize) -> Workload {
        let data = data(value_size);
        let commands = [("SET __key__ __data__", ratio.sets), ("GET __key__", ratio.gets)]
            .into_iter()
            .filter(|(_, times)| *times > 0)
            .map(|(text, times)| (Template::new(&words(text), &keys, &data), times))
            .collect();
        Workload { keys, commands, in_step: false }
    }

    /// One command, written as in a shell: `HSET __key__ "a field" __data__`.
    pub fn command(keys: KeySpace, text: &str, value_size: usize) -> Result<Workload, Error> {
        let arguments = split_quoted(text)
            .map_err(|reason| Error::Usage(format!("--command: {reason} in \"{text}\"")))?;
        if arguments.is_empty() {
            return Err(Error::Usage("--command is empty; write for example \"INCR __key__\"".into()));
        }
        let template = Template::new(&arguments, &keys, &data(value_size));
        Ok(Workload { keys, commands: vec![(template, 1)], in_step: false })
    }

    /// Commands that every connection sends in this order, from the first on.
    pub fn in_step(keys: KeySpace, texts: &[&str], value_size: usize) -> Result<Workload, Error> {
        let mut whole = Workload { keys: keys.clone(), commands: Vec::new(), in_step: true };
        for text in texts {
            whole.commands.extend(Workload::command(keys.clone(), text, value_size)?.commands);
        }
        Ok(whole)
    }

    /// The template of each step of the cycle.
    pub(crate) fn cycle(&self) -> Vec<Template> {
        let repeat = |(template, times): &(Template, u32)| vec![template.clone(); *times as usize];
        self.commands.iter().flat_map(repeat).collect()
    }

    /// The slot-deciding argument of key `id`.
    pub(crate) fn routed_key(&self, id: u64) -> Option<Vec<u8>> {
        self.commands[0].0.routed_key(id, &self.keys)
    }
}

/// Arguments separated by blanks; quotes keep blanks, and `\` inside double quotes keeps a quote or itself.
fn split_quoted(text: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut arguments = Vec::new();
    let mut current: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b' ' | b'\t') => arguments.extend(current.take()),
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                current.get_or_insert_with(Vec::new);
            }
            (Some(q), b) if q == b => quote = None,
            (Some(b'"'), b'\\') if matches!(bytes.peek(), Some(b'"' | b'\\')) => {
                current.get_or_insert_with(Vec::new).extend(bytes.next());
            }
            (_, b) => current.get_or_insert_with(Vec::new).push(b),
        }
    }
    arguments.extend(current);
    if quote.is_some() {
        return Err("a quote that is not closed");
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> KeySpace {
        KeySpace::new("k:", 6, 1_000).unwrap()
    }

    fn rendered(template: &Template, id: u64) -> String {
        let mut out = Vec::new();
        template.append(id, &space(), &mut fastrand::Rng::with_seed(1), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ratios_are_read_and_bad_ones_explained() {
        assert_eq!("1:10".parse(), Ok(Ratio { sets: 1, gets: 10 }));
        assert_eq!("0:1".parse(), Ok(Ratio { sets: 0, gets: 1 }));
        assert!("0:0".parse::<Ratio>().unwrap_err().contains("asks for nothing"));
        assert!("5000:1".parse::<Ratio>().unwrap_err().contains("above 1000"));
        for bad in ["", "1", "1:", ":1", "1/2", "-1:1", "a:b", "1:2:3"] {
            assert!(bad.parse::<Ratio>().unwrap_err().contains("write SET:GET"), "{bad}");
        }
    }

    #[test]
    fn requests_are_resp_with_the_key_written_in() {
        let workload = Workload::mix(space(), Ratio { sets: 1, gets: 2 }, 3);
        let cycle = workload.cycle();
        assert_eq!(cycle.len(), 3);
        let set = rendered(&cycle[0], 42);
        assert!(set.starts_with("*3\r\n$3\r\nSET\r\n$6\r\nk:0042\r\n$3\r\n"), "{set:?}");
        assert_eq!(set.len(), "*3\r\n$3\r\nSET\r\n$6\r\nk:0042\r\n$3\r\nabc\r\n".len());
        assert_eq!(rendered(&cycle[1], 7), "*2\r\n$3\r\nGET\r\n$6\r\nk:0007\r\n");
        assert_eq!(rendered(&cycle[2], 999), "*2\r\n$3\r\nGET\r\n$6\r\nk:0999\r\n");
    }

    #[test]
    fn a_template_takes_keys_and_data_anywhere() {
        let text = "LPUSH pre{__key__}:__key__ '__data__ x' \"a \\\"b\\\"\" ''";
        let workload = Workload::command(space(), text, 2).unwrap();
        let request = rendered(&workload.cycle()[0], 5);
        let data = String::from_utf8(data(2)).unwrap();
        let expected = format!(
            "*5\r\n$5\r\nLPUSH\r\n$18\r\npre{{k:0005}}:k:0005\r\n$4\r\n{data} x\r\n$5\r\na \"b\"\r\n$0\r\n\r\n"
        );
        assert_eq!(request, expected);
        assert_eq!(workload.routed_key(5).unwrap(), b"pre{k:0005}:k:0005");
        let ping = Workload::command(space(), "PING", 2).unwrap();
        assert_eq!(ping.routed_key(0), None);
    }

    #[test]
    fn random_numbers_have_the_width_of_keys_and_are_below_their_count() {
        let workload = Workload::command(space(), "ZADD z __random__ __key__", 1).unwrap();
        let request = rendered(&workload.cycle()[0], 7);
        let score = request.split("\r\n").nth(6).unwrap();
        assert!(score.len() == 4 && score.parse::<u64>().unwrap() < 1_000, "{request:?}");
        assert!(request.ends_with("$6\r\nk:0007\r\n"));
    }

    #[test]
    fn templates_that_make_no_command_are_refused() {
        let refused = |text| Workload::command(space(), text, 1).unwrap_err().to_string();
        assert!(refused("  ").contains("is empty"));
        assert!(refused("SET 'a").contains("a quote that is not closed"));
    }
}

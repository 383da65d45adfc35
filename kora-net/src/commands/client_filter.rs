//! Which connections CLIENT LIST shows and CLIENT KILL closes.

use kora_engine::args;
use kora_engine::error::Error;

/// The one user there is.
pub(crate) const DEFAULT_USER: &[u8] = b"default";

/// The types of clients that filters name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientType {
    /// Sends commands.
    Normal,
    /// Is the master of this server.
    Master,
    /// Is a replica of this server.
    Replica,
    /// Has subscriptions.
    PubSub,
}

/// What filters look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Unique in the process.
    pub id: u64,
    /// Peer address.
    pub addr: &'a str,
    /// Local address.
    pub laddr: &'a str,
    /// Its type.
    pub kind: ClientType,
    /// Seconds since it connected.
    pub age: u64,
}

/// CLIENT LIST's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListFilter {
    /// Everybody.
    All,
    /// Clients of a type.
    Type(ClientType),
    /// Clients with these numbers, which need not be numbers that a client can have.
    Ids(Vec<i64>),
}

impl ListFilter {
    /// Reads `CLIENT LIST [TYPE type | ID id [id ...]]`.
    pub(crate) fn parse(argv: &[&[u8]]) -> Result<ListFilter, Error> {
        match &argv[2..] {
            [] => Ok(ListFilter::All),
            [word, kind] if args::is(word, "type") => Ok(ListFilter::Type(client_type(kind)?)),
            [word, ids @ ..] if args::is(word, "id") && !ids.is_empty() => {
                let id = |text: &&[u8]| args::parse_i64(text).ok_or(Error::new("ERR Invalid client ID"));
                ids.iter().map(id).collect::<Result<_, _>>().map(ListFilter::Ids)
            }
            _ => Err(Error::SYNTAX),
        }
    }

    /// Whether it shows this connection.
    pub(crate) fn matches(&self, subject: Subject<'_>) -> bool {
        match self {
            ListFilter::All => true,
            ListFilter::Type(kind) => subject.kind == *kind,
            ListFilter::Ids(ids) => ids.contains(&(subject.id as i64)),
        }
    }
}

/// CLIENT KILL's choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KillFilter {
    id: Option<u64>,
    kind: Option<ClientType>,
    addr: Option<Vec<u8>>,
    laddr: Option<Vec<u8>>,
    age_min: Option<u64>,
    skip_me: bool,
    /// `CLIENT KILL ip:port`, which answers OK or an error and not a count.
    pub(crate) old_form: bool,
}

impl KillFilter {
    /// Reads `CLIENT KILL ip:port` or `CLIENT KILL filter value [filter value ...]`.
    pub(crate) fn parse(argv: &[&[u8]]) -> Result<KillFilter, Error> {
        if let [_, _, addr] = argv {
            return Ok(KillFilter { addr: Some(addr.to_vec()), old_form: true, ..KillFilter::default() });
        }
        let mut filter = KillFilter { skip_me: true, ..KillFilter::default() };
        for pair in argv[2..].chunks(2) {
            let &[option, value] = pair else { return Err(Error::SYNTAX) };
            match () {
                _ if args::is(option, "id") => {
                    let id = args::parse_i64(value).filter(|&id| id > 0);
                    let id = id.ok_or(Error::new("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id as u64);
                }
                _ if args::is(option, "type") => filter.kind = Some(client_type(value)?),
                _ if args::is(option, "user") => {
                    if value != DEFAULT_USER {
                        let mut text = b"ERR No such user '".to_vec();
                        text.extend_from_slice(value);
                        text.push(b'\'');
                        return Err(Error::owned(text));
                    }
                }
                _ if args::is(option, "addr") => filter.addr = Some(value.to_vec()),
                _ if args::is(option, "laddr") => filter.laddr = Some(value.to_vec()),
                _ if args::is(option, "maxage") => {
                    let seconds = args::parse_i64(value)
                        .ok_or(Error::new("ERR maxage is not an integer or out of range"))?;
                    if seconds <= 0 {
                        return Err(Error::new("ERR maxage should be greater than 0"));
                    }
                    filter.age_min = Some(seconds as u64);
                }
                _ if args::is(option, "skipme") => match () {
                    _ if args::is(value, "yes") => filter.skip_me = true,
                    _ if args::is(value, "no") => filter.skip_me = false,
                    _ => return Err(Error::SYNTAX),
                },
                _ => return Err(Error::SYNTAX),
            }
        }
        Ok(filter)
    }

    /// Whether it closes this connection, asked for by the connection `me`.
    pub(crate) fn matches(&self, subject: Subject<'_>, me: u64) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, is: T) -> bool {
            wanted.as_ref().is_none_or(|wanted| *wanted == is)
        }
        same(&self.id, subject.id)
            && same(&self.kind, subject.kind)
            && self.addr.as_ref().is_none_or(|addr| addr == subject.addr.as_bytes())
            && self.laddr.as_ref().is_none_or(|laddr| laddr == subject.laddr.as_bytes())
            && self.age_min.is_none_or(|seconds| subject.age >= seconds)
            && !(self.skip_me && subject.id == me)
    }
}

fn client_type(name: &[u8]) -> Result<ClientType, Error> {
    match () {
        _ if args::is(name, "normal") => Ok(ClientType::Normal),
        _ if args::is(name, "master") => Ok(ClientType::Master),
        _ if args::is(name, "replica") || args::is(name, "slave") => Ok(ClientType::Replica),
        _ if args::is(name, "pubsub") => Ok(ClientType::PubSub),
        _ => {
            let mut text = b"ERR Unknown client type '".to_vec();
            text.extend_from_slice(name);
            text.push(b'\'');
            Err(Error::owned(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client on port 40000 + id that is 10 * id seconds old.
    fn with_client<T>(id: u64, look: impl FnOnce(Subject<'_>) -> T) -> T {
        let addr = format!("127.0.0.1:{}", 40000 + id);
        look(Subject { id, addr: &addr, laddr: "127.0.0.1:6379", kind: ClientType::Normal, age: 10 * id })
    }

    fn argv(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    fn listed(line: &str) -> Result<Vec<u64>, String> {
        let filter = ListFilter::parse(&argv(line)).map_err(text)?;
        Ok((1..=5).filter(|&id| with_client(id, |client| filter.matches(client))).collect())
    }

    /// Numbers of the clients among 1 to 5 that a command of client 3 closes.
    fn killed(line: &str) -> Result<Vec<u64>, String> {
        let filter = KillFilter::parse(&argv(line)).map_err(text)?;
        Ok((1..=5).filter(|&id| with_client(id, |client| filter.matches(client, 3))).collect())
    }

    fn text(error: Error) -> String {
        String::from_utf8_lossy(error.text()).into_owned()
    }

    #[test]
    fn list_chooses_by_type_or_ids() {
        assert_eq!(listed("client list").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(listed("client list type NORMAL").unwrap().len(), 5);
        assert_eq!(listed("client list type slave").unwrap(), [0; 0]);
        assert_eq!(listed("client list id 4 99 2 -1").unwrap(), [2, 4]);
        for (line, error) in [
            ("client list type foo", "ERR Unknown client type 'foo'"),
            ("client list type", "ERR syntax error"),
            ("client list id", "ERR syntax error"),
            ("client list id x", "ERR Invalid client ID"),
            ("client list id 5 type normal", "ERR Invalid client ID"),
            ("client list type normal id 1", "ERR syntax error"),
            ("client list foo", "ERR syntax error"),
        ] {
            assert_eq!(listed(line), Err(error.to_owned()), "{line}");
        }
    }

    #[test]
    fn kill_wants_every_filter_to_match() {
        assert_eq!(killed("client kill 127.0.0.1:40003").unwrap(), [3], "the old form may close the caller");
        assert_eq!(killed("client kill addr 127.0.0.1:40003").unwrap(), [0; 0]);
        assert_eq!(killed("client kill addr 127.0.0.1:40003 skipme no").unwrap(), [3]);
        assert_eq!(killed("client kill skipme yes").unwrap(), [1, 2, 4, 5]);
        assert_eq!(killed("client kill id 2 type normal user default").unwrap(), [2]);
        assert_eq!(killed("client kill id 2 type pubsub").unwrap(), [0; 0]);
        assert_eq!(killed("client kill laddr 127.0.0.1:6379 maxage 40").unwrap(), [4, 5]);
        for (line, error) in [
            ("client kill id x", "ERR client-id should be greater than 0"),
            ("client kill id 0", "ERR client-id should be greater than 0"),
            ("client kill type foo", "ERR Unknown client type 'foo'"),
            ("client kill user foo", "ERR No such user 'foo'"),
            ("client kill skipme maybe", "ERR syntax error"),
            ("client kill maxage x", "ERR maxage is not an integer or out of range"),
            ("client kill maxage 0", "ERR maxage should be greater than 0"),
            ("client kill id 1 addr", "ERR syntax error"),
            ("client kill foo bar", "ERR syntax error"),
        ] {
            assert_eq!(killed(line), Err(error.to_owned()), "{line}");
        }
    }
}

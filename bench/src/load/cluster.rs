//! The nodes of a cluster and the slots that they own, from CLUSTER SLOTS.

use crate::client::{Client, Session, Value};
use crate::endpoint::Endpoint;
use crate::slot::SLOTS;
use crate::Error;

/// Who owns what.
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Endpoint>,
    /// Index into `nodes` of each slot's owner.
    pub(crate) node_of_slot: Vec<u16>,
}

impl Topology {
    pub(crate) fn ask(endpoint: &Endpoint, session: &Session) -> Result<Topology, Error> {
        let reply = Client::connect(endpoint, session)?.expect("CLUSTER SLOTS", &[b"CLUSTER", b"SLOTS"])?;
        Topology::read(&reply, endpoint).map_err(|problem| Error::Refused {
            command: "CLUSTER SLOTS".into(),
            reply: format!("{reply}, {problem}"),
        })
    }

    /// Entries are `[first slot, last slot, [host, port, ...], replicas...]`; an empty or null host means
    /// the one that was asked.
    fn read(reply: &Value, asked: &Endpoint) -> Result<Topology, String> {
        const FREE: u16 = u16::MAX;
        let mut topology = Topology { nodes: Vec::new(), node_of_slot: vec![FREE; SLOTS] };
        let Value::Array(ranges) = reply else { return Err("which is no list of slot ranges".into()) };
        for range in ranges {
            let Value::Array(fields) = range else { return Err("with an entry that is no range".into()) };
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = fields.as_slice() else {
                return Err("with an entry that is no range".into());
            };
            let [host, Value::Int(port), ..] = primary.as_slice() else {
                return Err("with a node that has no port".into());
            };
            let port = u16::try_from(*port).map_err(|_| format!("with the port {port}"))?;
            let node = match (host, asked) {
                (Value::Text(host), _) if !host.is_empty() => {
                    Endpoint::resolve(&String::from_utf8_lossy(host), port).map_err(|e| e.to_string())?
                }
                (_, Endpoint::Tcp(address)) => Endpoint::Tcp((address.ip(), port).into()),
                (_, Endpoint::Unix(_)) => return Err("without the host of a node".into()),
            };
            let index = topology.nodes.iter().position(|n| *n == node).unwrap_or_else(|| {
                topology.nodes.push(node);
                topology.nodes.len() - 1
            });
            let slots = usize::try_from(*first).ok().zip(usize::try_from(*last).ok());
            match slots.and_then(|(first, last)| topology.node_of_slot.get_mut(first..=last)) {
                Some(slots) => slots.fill(index as u16),
                None => return Err(format!("with the slots {first} to {last}")),
            }
        }
        match topology.node_of_slot.iter().position(|&node| node == FREE) {
            Some(slot) => Err(format!("in which nobody owns slot {slot}")),
            None => Ok(topology),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Value {
        Value::Text(s.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]),
        ])
    }

    fn asked() -> Endpoint {
        Endpoint::Tcp("127.0.0.1:6379".parse().unwrap())
    }

    #[test]
    fn ranges_of_one_node_are_joined() {
        let reply = Value::Array(vec![
            range(0, 99, text("127.0.0.1"), 7000),
            range(100, 8191, text("127.0.0.1"), 7001),
            range(8192, 16383, text("127.0.0.1"), 7000),
        ]);
        let topology = Topology::read(&reply, &asked()).unwrap();
        assert_eq!(topology.nodes.len(), 2);
        let owner = |slot: usize| topology.node_of_slot[slot];
        assert_eq!([owner(0), owner(99), owner(100), owner(8191), owner(16383)], [0, 0, 1, 1, 0]);
    }

    #[test]
    fn a_node_without_host_is_the_one_that_was_asked() {
        let reply = Value::Array(vec![range(0, 16383, text(""), 7000)]);
        let topology = Topology::read(&reply, &asked()).unwrap();
        assert_eq!(topology.nodes, [Endpoint::Tcp("127.0.0.1:7000".parse().unwrap())]);
        let reply = Value::Array(vec![range(0, 16383, Value::Null, 7000)]);
        assert_eq!(Topology::read(&reply, &asked()).unwrap().nodes, topology.nodes);
    }

    #[test]
    fn a_cluster_that_is_not_whole_is_refused() {
        let read = |reply: Value| match Topology::read(&reply, &asked()) {
            Ok(_) => panic!("accepted"),
            Err(problem) => problem,
        };
        assert!(read(Value::Array(vec![])).contains("nobody owns slot 0"));
        let hole = vec![range(0, 99, text("127.0.0.1"), 1), range(101, 16383, text("127.0.0.1"), 1)];
        assert!(read(Value::Array(hole)).contains("nobody owns slot 100"));
        assert!(read(Value::Array(vec![range(0, 16384, text("127.0.0.1"), 1)])).contains("slots 0 to 16384"));
        assert!(read(Value::Array(vec![range(-1, 5, text("127.0.0.1"), 1)])).contains("slots -1 to 5"));
        assert!(read(Value::Array(vec![Value::Int(3)])).contains("no range"));
        assert!(read(text("OK")).contains("no list"));
    }
}

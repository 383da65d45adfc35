//! CLUSTER SLOTS, SHARDS, NODES and INFO: executors as the nodes of a cluster.
//!
//! Every executor is a master without replicas that owns one range of slots for ever, so the epoch is constant and there is
//! no bus; the bus port that NODES prints is Redis's convention (port + 10000) and nobody listens there.

use super::Served;
use crate::connection::Entrance;
use crate::executor::Executor;
use crate::options::Options;
use crate::resp::encode::{Output, RespSink};
use kora_engine::command::ServerCommand;
use kora_engine::error::Error;
use kora_engine::keyspace::View;
use kora_engine::limits::SLOTS;
use kora_engine::reply::Reply;
use kora_engine::slot::{range_of, Slot};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The configuration epoch of a cluster that never changes.
const EPOCH: u64 = 1;

/// Answer of everything that needs cluster ports when there are none.
pub(crate) const DISABLED: Error = Error::new("ERR This instance has cluster support disabled");

/// One executor as a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    /// 40 hexadecimal digits.
    pub id: &'a str,
    /// The address under which the asking client reaches this host.
    pub host: &'a str,
    /// The executor's own port.
    pub port: u16,
    /// First and last slot.
    pub slots: (u16, u16),
    /// The client asks this node.
    pub myself: bool,
}

/// The address under which the client of a connection reaches this host: the one that it came to.
fn host_of(laddr: &str, options: &Options) -> String {
    match laddr.rsplit_once(':').and_then(|(host, _)| host.trim_matches(['[', ']']).parse::<IpAddr>().ok()) {
        Some(ip) => ip.to_canonical().to_string(),
        // Through the Unix socket: the client is on this host.
        None => match options.bind.first() {
            Some(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
            Some(ip) if !ip.is_unspecified() => ip.to_string(),
            _ => Ipv4Addr::LOCALHOST.to_string(),
        },
    }
}

/// `host:port` of the executor that owns a shard, for the client of a connection.
pub(crate) fn address_of(executor: &Executor, index: u32, owner: u16) -> String {
    let options = &executor.process.options;
    let port = options.cluster_ports.map_or(options.port, |base| base + owner);
    format!("{}:{port}", host_of(&executor.connection_ref(index).info.laddr, options))
}

/// Commands about the topology.
pub(super) fn run(
    executor: &mut Executor,
    index: u32,
    command: ServerCommand,
    argv: &[&[u8]],
    reply: &mut dyn Reply,
) -> Result<Served, Error> {
    let process = executor.process.clone();
    let Some(base) = process.options.cluster_ports else { return Err(DISABLED) };
    let count = executor.count;
    let host = host_of(&executor.connection(index).info.laddr, &process.options);
    let own_only = executor.connection(index).entrance == Entrance::Executor;
    let nodes = || -> Vec<Node<'_>> {
        let node = |id: u16| Node {
            id: &process.node_ids[id as usize],
            host: &host,
            port: base + id,
            slots: range_of(id, count),
            myself: id == executor.id,
        };
        (0..count).map(node).collect()
    };
    match command {
        ServerCommand::ClusterSlots => slots(&nodes(), reply),
        ServerCommand::ClusterShards => shards(&nodes(), reply),
        ServerCommand::ClusterNodes => reply.verbatim("txt", nodes_text(&nodes()).as_bytes()),
        ServerCommand::ClusterInfo => reply.verbatim("txt", info_text(count as usize).as_bytes()),
        ServerCommand::ClusterMyId => reply.bulk(process.node_ids[executor.id as usize].as_bytes()),
        ServerCommand::ClusterKeySlot => reply.integer(Slot::of(argv[2]).number().into()),
        // A node knows its own keys only; the main port serves every key.
        ServerCommand::ClusterCountKeysInSlot => {
            let slot = slot_argument(argv[2])?;
            let owner = slot.shard(count);
            if own_only && owner != executor.id {
                reply.integer(0);
                return Ok(Served::Replied);
            }
            return count_keys(executor, index, owner, slot);
        }
        ServerCommand::ClusterGetKeysInSlot => {
            let (slot, wanted) = slot_and_count(argv[2], argv[3])?;
            let owner = slot.shard(count);
            if own_only && owner != executor.id {
                reply.array(0);
                return Ok(Served::Replied);
            }
            return list_keys(executor, index, owner, slot, wanted);
        }
        ServerCommand::Readonly | ServerCommand::Readwrite | ServerCommand::Asking => reply.ok(),
        _ => unreachable!("not a cluster command"),
    }
    Ok(Served::Replied)
}

fn count_keys(executor: &mut Executor, index: u32, owner: u16, slot: Slot) -> Result<Served, Error> {
    let (hub, protocol) = (executor.hub.clone(), executor.connection(index).protocol);
    Ok(Served::Task(Box::pin(async move {
        let keys = hub.call(owner, move |executor| executor.shard.keys.slot_count(slot)).await;
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).integer(keys.expect("counted under cluster_ports").into());
        out
    })))
}

fn list_keys(
    executor: &mut Executor,
    index: u32,
    owner: u16,
    slot: Slot,
    wanted: usize,
) -> Result<Served, Error> {
    let (protocol, view) = executor.view_of(index);
    let hub = executor.hub.clone();
    Ok(Served::Task(Box::pin(async move {
        let mut keys = Vec::new();
        let mut position = 0;
        loop {
            // A part per call: the owner serves others in between.
            let missing = wanted - keys.len();
            let part = move |executor: &mut Executor| keys_in_slot(executor, view, slot, position, missing);
            let (next, found) = hub.call(owner, part).await;
            keys.extend(found);
            position = next;
            if position == 0 || keys.len() == wanted {
                break;
            }
        }
        let mut out = Output::default();
        let mut reply = RespSink::new(&mut out, protocol);
        reply.array(keys.len());
        for key in &keys {
            reply.bulk(key);
        }
        out
    })))
}

/// Keys that one call looks at: tens of microseconds.
const SLOT_SCAN_KEYS: usize = 256;

/// The next part of a walk over a shard: where it goes on (0: it is over), and at most `wanted` keys of the slot.
fn keys_in_slot(
    executor: &mut Executor,
    view: View,
    slot: Slot,
    position: u64,
    wanted: usize,
) -> (u64, Vec<Vec<u8>>) {
    let mut keys = Vec::new();
    if wanted == 0 || executor.shard.keys.slot_count(slot) == Some(0) {
        return (0, keys);
    }
    let next = executor.shard.keys.scan(view, position, SLOT_SCAN_KEYS, &mut |entry| {
        if keys.len() < wanted && Slot::of(entry.key()) == slot {
            keys.push(entry.key().to_vec());
        }
    });
    (next, keys)
}

/// CLUSTER SLOTS.
pub(crate) fn slots(nodes: &[Node<'_>], reply: &mut dyn Reply) {
    reply.array(nodes.len());
    for node in nodes {
        reply.array(3);
        reply.integer(node.slots.0.into());
        reply.integer(node.slots.1.into());
        reply.array(4);
        reply.bulk(node.host.as_bytes());
        reply.integer(node.port.into());
        reply.bulk(node.id.as_bytes());
        reply.map(0);
    }
}

/// CLUSTER SHARDS.
pub(crate) fn shards(nodes: &[Node<'_>], reply: &mut dyn Reply) {
    reply.array(nodes.len());
    for node in nodes {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2);
        reply.integer(node.slots.0.into());
        reply.integer(node.slots.1.into());
        reply.bulk(b"nodes");
        reply.array(1);
        reply.map(7);
        reply.bulk(b"id");
        reply.bulk(node.id.as_bytes());
        reply.bulk(b"port");
        reply.integer(node.port.into());
        for (field, text) in
            [("ip", node.host), ("endpoint", node.host), ("role", "master"), ("health", "online")]
        {
            if field == "health" {
                reply.bulk(b"replication-offset");
                reply.integer(0);
            }
            reply.bulk(field.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
}

/// The text of CLUSTER NODES.
pub(crate) fn nodes_text(nodes: &[Node<'_>]) -> String {
    let mut text = String::new();
    for node in nodes {
        let flags = if node.myself { "myself,master" } else { "master" };
        let bus_port = u32::from(node.port) + 10_000;
        let (first, last) = node.slots;
        write!(text, "{} {}:{}@{bus_port} {flags} - 0 0 {EPOCH} connected ", node.id, node.host, node.port)
            .expect("a String takes any text");
        if first == last {
            writeln!(text, "{first}").expect("a String takes any text");
        } else {
            writeln!(text, "{first}-{last}").expect("a String takes any text");
        }
    }
    text
}

/// The text of CLUSTER INFO.
pub(crate) fn info_text(nodes: usize) -> String {
    format!(
        "cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\ncluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\ncluster_known_nodes:{nodes}\r\ncluster_size:{nodes}\r\ncluster_current_epoch:{EPOCH}\r\n\
         cluster_my_epoch:{EPOCH}\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    )
}

/// The slot that COUNTKEYSINSLOT names.
pub(crate) fn slot_argument(text: &[u8]) -> Result<Slot, Error> {
    let number = kora_engine::args::integer(text)?;
    u16::try_from(number).ok().and_then(Slot::new).ok_or(Error::new("ERR Invalid slot"))
}

/// The slot and count of GETKEYSINSLOT.
pub(crate) fn slot_and_count(slot: &[u8], count: &[u8]) -> Result<(Slot, usize), Error> {
    let slot = kora_engine::args::integer(slot)?;
    let count = kora_engine::args::integer(count)?;
    let slot = u16::try_from(slot).ok().and_then(Slot::new);
    slot.zip(usize::try_from(count).ok()).ok_or(Error::new("ERR Invalid slot or number of keys"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{resp2, resp3};

    #[test]
    fn clients_are_sent_to_the_address_that_they_came_to() {
        let mut options = crate::commands::config::tests::options();
        options.bind = vec![Ipv4Addr::UNSPECIFIED.into()];
        assert_eq!(host_of("10.1.2.3:6379", &options), "10.1.2.3");
        assert_eq!(host_of("[::1]:6379", &options), "::1");
        assert_eq!(host_of("[::ffff:10.1.2.3]:6379", &options), "10.1.2.3");
        assert_eq!(host_of("/run/kora.sock:0", &options), "127.0.0.1");
        options.bind = vec![Ipv6Addr::UNSPECIFIED.into()];
        assert_eq!(host_of("/run/kora.sock:0", &options), "::1");
        options.bind = vec![[10, 0, 0, 7].into()];
        assert_eq!(host_of("/run/kora.sock:0", &options), "10.0.0.7");
    }

    const NODES: [Node<'_>; 2] = [
        Node { id: "aa", host: "10.0.0.1", port: 7001, slots: (0, 8191), myself: false },
        Node { id: "bb", host: "10.0.0.1", port: 7002, slots: (8192, 16383), myself: true },
    ];

    #[test]
    fn topology_has_the_shape_that_cluster_clients_read() {
        assert_eq!(
            resp2(|reply| slots(&NODES, reply)),
            "*2 *3 :0 :8191 *4 $10.0.0.1 :7001 $aa *0 *3 :8192 :16383 *4 $10.0.0.1 :7002 $bb *0"
        );
        assert_eq!(
            resp3(|reply| shards(&NODES[1..], reply)),
            "*1 %2 $slots *2 :8192 :16383 $nodes *1 %7 $id $bb $port :7002 $ip $10.0.0.1 $endpoint $10.0.0.1 \
             $role $master $replication-offset :0 $health $online"
        );
        assert_eq!(
            nodes_text(&NODES),
            "aa 10.0.0.1:7001@17001 master - 0 0 1 connected 0-8191\n\
             bb 10.0.0.1:7002@17002 myself,master - 0 0 1 connected 8192-16383\n"
        );
        let info = info_text(2);
        assert!(info.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
        assert!(info.contains("\r\ncluster_size:2\r\n"));
    }

    #[test]
    fn slots_outside_the_range_are_refused_in_the_words_of_redis() {
        assert_eq!(slot_argument(b"16383").unwrap().number(), 16383);
        assert_eq!(slot_argument(b"16384").unwrap_err().text(), b"ERR Invalid slot");
        assert_eq!(slot_argument(b"-1").unwrap_err().text(), b"ERR Invalid slot");
        assert_eq!(slot_argument(b"x"), Err(Error::NOT_INTEGER));
        assert_eq!(slot_and_count(b"3", b"0").unwrap().1, 0);
        for (slot, count) in [(&b"-1"[..], &b"3"[..]), (b"0", b"-1"), (b"16384", b"1")] {
            let error = slot_and_count(slot, count).unwrap_err();
            assert_eq!(error.text(), b"ERR Invalid slot or number of keys");
        }
    }
}

//! One connection as CLIENT LIST and CLIENT INFO print it.

use std::fmt::Write;

/// A copy of what an executor knows about one of its connections; it travels to the executor that prints it.
#[derive(Debug, Clone)]
pub(crate) struct ClientLine {
    /// Unique in the process.
    pub id: u64,
    /// Peer address, or the path of the Unix socket with `:0`.
    pub addr: String,
    /// Local address.
    pub laddr: String,
    /// Descriptor of the socket.
    pub fd: i32,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// Seconds since it connected.
    pub age: u64,
    /// Seconds since its last command.
    pub idle: u64,
    /// Came through the Unix socket.
    pub unix: bool,
    /// Will be closed after its last reply.
    pub closing: bool,
    /// Waits in a blocking command.
    pub blocked: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Database.
    pub db: u16,
    /// Bytes of input that wait.
    pub query_len: usize,
    /// Room behind them.
    pub query_free: usize,
    /// Bytes of replies that wait.
    pub output_len: usize,
    /// Memory of the buffers of replies.
    pub output_capacity: usize,
    /// Large values among the replies, sent by reference.
    pub output_values: usize,
    /// A send is under way.
    pub sending: bool,
    /// Full name of the last command.
    pub command: Option<&'static str>,
    /// 2 or 3.
    pub resp: u8,
    /// CLIENT SETINFO lib-name.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO lib-ver.
    pub lib_ver: Vec<u8>,
    /// The executor that owns it.
    pub executor: u16,
    /// Bytes received.
    pub net_in: u64,
    /// Bytes sent.
    pub net_out: u64,
    /// Commands executed.
    pub commands: u64,
    /// Commands that EXEC executes, when there was a MULTI.
    pub queued: Option<usize>,
    /// Bytes that they take.
    pub queue_memory: usize,
    /// Keys watched.
    pub watched: usize,
    /// One of them has changed.
    pub watched_changed: bool,
    /// Memory of the connection itself, without its buffers.
    pub base_memory: usize,
}

impl ClientLine {
    /// All memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        self.base_memory + self.query_len + self.query_free + self.output_capacity + self.queue_memory
    }

    /// Appends its line.
    pub(crate) fn write(&self, out: &mut String) {
        let mut flags = String::new();
        for (set, flag) in [
            (self.queued.is_some(), 'x'),
            (self.blocked, 'b'),
            (self.watched_changed, 'd'),
            (self.closing, 'c'),
            (self.unix, 'U'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
        ] {
            if set {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        // What this server does not have keeps its place: clients look fields up by name, some count them.
        writeln!(
            out,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub=0 psub=0 ssub=0 multi={} watch={} \
             qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs={} rbp={} obl={} oll={} omem={} tot-mem={} events={} cmd={} \
             user=default redir=-1 resp={} lib-name={} lib-ver={} io-thread={} tot-net-in={} tot-net-out={} tot-cmds={}",
            self.id,
            self.addr,
            self.laddr,
            self.fd,
            String::from_utf8_lossy(&self.name),
            self.age,
            self.idle,
            self.db,
            self.queued.map_or(-1, |count| count as i64),
            self.watched,
            self.query_len,
            self.query_free,
            self.queue_memory,
            self.output_capacity,
            self.output_capacity,
            self.output_len,
            self.output_values,
            self.output_capacity,
            self.memory(),
            if self.sending { "rw" } else { "r" },
            self.command.unwrap_or("NULL"),
            self.resp,
            String::from_utf8_lossy(&self.lib_name),
            String::from_utf8_lossy(&self.lib_ver),
            self.executor,
            self.net_in,
            self.net_out,
            self.commands,
        )
        .expect("a String takes any text");
    }
}

/// Lines in the order in which the clients connected.
pub(crate) fn write_all(mut lines: Vec<ClientLine>) -> String {
    lines.sort_by_key(|line| line.id);
    let mut text = String::new();
    for line in &lines {
        line.write(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u64) -> ClientLine {
        ClientLine {
            id,
            addr: format!("127.0.0.1:{}", 40000 + id),
            laddr: "127.0.0.1:6379".to_owned(),
            fd: 8,
            name: b"worker".to_vec(),
            age: 10 * id,
            idle: 1,
            unix: false,
            closing: false,
            blocked: false,
            no_evict: false,
            no_touch: false,
            db: 3,
            query_len: 26,
            query_free: 100,
            output_len: 5,
            output_capacity: 1024,
            output_values: 0,
            sending: false,
            command: Some("client|list"),
            resp: 2,
            lib_name: b"redis-py".to_vec(),
            lib_ver: b"5.0".to_vec(),
            executor: 1,
            net_in: 100,
            net_out: 200,
            commands: 4,
            queued: None,
            queue_memory: 0,
            watched: 0,
            watched_changed: false,
            base_memory: 600,
        }
    }

    #[test]
    fn a_line_has_the_fields_of_redis_in_their_order() {
        let text = write_all(vec![client(7)]);
        assert_eq!(
            text,
            "id=7 addr=127.0.0.1:40007 laddr=127.0.0.1:6379 fd=8 name=worker age=70 idle=1 flags=N db=3 sub=0 psub=0 ssub=0 \
             multi=-1 watch=0 qbuf=26 qbuf-free=100 argv-mem=0 multi-mem=0 rbs=1024 rbp=1024 obl=5 oll=0 omem=1024 \
             tot-mem=1750 events=r cmd=client|list user=default redir=-1 resp=2 lib-name=redis-py lib-ver=5.0 io-thread=1 \
             tot-net-in=100 tot-net-out=200 tot-cmds=4\n"
        );
    }

    #[test]
    fn flags_add_up_and_lines_are_in_order_of_ids() {
        let odd = ClientLine { unix: true, no_evict: true, no_touch: true, command: None, ..client(2) };
        let text = write_all(vec![client(9), odd]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("id=2 ") && lines[1].starts_with("id=9 "));
        assert!(lines[0].contains(" flags=UeT ") && lines[0].contains(" cmd=NULL "));
    }
}

"""redis-py as its users use it: argument 1 is the port of an empty server. Prints ok."""

import sys
import threading

import redis

port = int(sys.argv[1])


def client(**options):
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=10, **options)


r = client()
assert r.ping() is True
assert r.set("k", b"\x00\xff") is True
assert r.get("k") == b"\x00\xff"
assert r.get("missing") is None
assert r.set("k", "v", nx=True) is None
assert r.set("k", "new", get=True) == b"\x00\xff"
assert r.set("t", "v", ex=100) and r.ttl("t") == 100
assert r.set("t", "w", keepttl=True) and r.ttl("t") == 100
assert r.persist("t") is True and r.ttl("t") == -1
assert r.getex("t", ex=50) == b"w" and r.ttl("t") == 50
assert r.getdel("t") == b"w" and r.exists("t") == 0
assert r.incr("n", 5) == 5 and r.decr("n") == 4
assert r.incrbyfloat("f", 1.25) == 1.25
assert r.append("a", "hello") == 5 and r.strlen("a") == 5
assert r.setrange("a", 1, "E") == 5 and r.getrange("a", 0, 2) == b"hEl"
assert r.mset({"m1": 1, "m2": 2}) is True
assert r.mget("m1", "missing", "m2") == [b"1", None, b"2"]
assert r.msetnx({"m2": 3, "m3": 3}) is False
assert r.rename("m1", "m4") is True and r.copy("m4", "m5") is True
assert r.type("m5") == b"string" and r.object("encoding", "m5") == b"int"
assert r.expire("m5", 100, nx=True) == 1 and r.expire("m5", 50, gt=True) == 0
assert r.pexpiretime("m5") > 0 if hasattr(r, "pexpiretime") else True
assert r.touch("m4", "m5") == 2 and r.unlink("m4", "m5") == 2
assert r.dbsize() == len(r.keys("*"))

# decoded replies and other databases
d = client(decode_responses=True, db=3)
d.set("clé", "é")
assert d.get("clé") == "é" and d.keys("*") == ["clé"]
assert r.swapdb(3, 4) is True and d.dbsize() == 0
assert r.execute_command("SELECT", 0) in (True, b"OK")

# the connection says who it is
named = client(client_name="reporter", decode_responses=True)
assert named.client_getname() == "reporter"
entry = [c for c in named.client_list() if c["name"] == "reporter"][0]
assert entry["id"] == str(named.client_id()) and entry["db"] == "0", entry
assert named.client_info()["name"] == "reporter"
assert named.client_setname("other") and named.client_getname() == "other"

# pipelines: replies in order, errors in their place
pipe = r.pipeline(transaction=False)
for number in range(1000):
    pipe.set(f"p{number}", number).get(f"p{number}")
replies = pipe.execute()
assert replies[1::2] == [str(number).encode() for number in range(1000)]
pipe.set("text", "x").incr("text").get("text")
replies = pipe.execute(raise_on_error=False)
assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == b"x"

# SCAN through its iterator, while another thread writes
keys = {f"p{number}".encode() for number in range(1000)}
stop = threading.Event()


def write():
    other = client()
    number = 0
    while not stop.is_set():
        other.set(f"w{number % 500}", number)
        number += 1


thread = threading.Thread(target=write)
thread.start()
try:
    for count in (1, 10, 1000):
        assert set(r.scan_iter("p*", count=count)) == keys
finally:
    stop.set()
    thread.join()
assert set(r.scan_iter("*", _type="list")) == set()

# errors have their class
for command, kind in ((("SET", "k"), redis.ResponseError), (("NOSUCH",), redis.ResponseError)):
    try:
        r.execute_command(*command)
        raise AssertionError(command)
    except kind:
        pass

# the server's own data
info = r.info()
assert info["redis_version"] and info["connected_clients"] >= 1, info
assert info["db0"]["keys"] == r.dbsize()
assert r.config_get("databases") == {"databases": "16"}
assert r.config_set("timeout", 77) and r.config_get("timeout") == {"timeout": "77"} and r.config_set("timeout", 0)
assert r.command_count() > 50 and r.command()["get"]["arity"] == 2
assert r.command_getkeys("MSET", "a", 1, "b", 2) in ([b"a", b"b"], ["a", "b"])
assert len(r.time()) == 2
assert r.memory_usage("k") > 0 and "peak.allocated" in r.memory_stats()
assert r.slowlog_len() >= 0 and isinstance(r.slowlog_get(), list)
assert r.lcs("k", "k") in (b"new", "new")
assert r.flushall() is True and r.dbsize() == 0

# RESP3, where this redis-py knows it
if int(redis.__version__.split(".")[0]) >= 5:
    three = client(protocol=3, decode_responses=True)
    three.set("k", "v")
    assert three.get("k") == "v" and three.config_get("databases") == {"databases": "16"}
    assert three.mget("k", "missing") == ["v", None]

print("ok")

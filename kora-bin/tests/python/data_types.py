"""redis-py with every type of collection: argument 1 is the port of an empty server. Prints ok."""

import sys
import threading
import time

import redis

port = int(sys.argv[1])
r = redis.Redis(host="127.0.0.1", port=port, socket_timeout=20, decode_responses=True)


def fails(kind, command, *arguments):
    try:
        r.execute_command(command, *arguments)
    except kind as error:
        return str(error)
    raise AssertionError((command, arguments))


# hashes
assert r.hset("h", mapping={"a": 1, "b": "two", "c": 3.5}) == 3
assert r.hgetall("h") == {"a": "1", "b": "two", "c": "3.5"}
assert r.hincrby("h", "a", 4) == 5 and r.hincrbyfloat("h", "c", 0.25) == 3.75
assert r.hmget("h", ["a", "missing"]) == ["5", None] and not r.hsetnx("h", "a", 9)
assert r.hexists("h", "b") is True and r.hstrlen("h", "b") == 3 and r.hlen("h") == 3
assert sorted(r.hkeys("h")) == ["a", "b", "c"] and r.hdel("h", "b", "missing") == 1
big = {f"field:{n}": str(n * n) for n in range(5000)}
assert r.hset("hbig", mapping=big) == 5000 and r.hgetall("hbig") == big
assert dict(r.hscan_iter("hbig", count=100)) == big
assert r.object("encoding", "hbig") == "hashtable" and len(r.hrandfield("hbig", 10)) == 10

# lists
assert r.rpush("l", *range(10)) == 10 and r.lpush("l", "first") == 11
assert r.lrange("l", 0, 2) == ["first", "0", "1"] and r.lindex("l", -1) == "9"
assert r.lpop("l") == "first" and r.rpop("l", 2) == ["9", "8"] and r.llen("l") == 8
assert r.linsert("l", "BEFORE", "3", "x") == 9 and r.lpos("l", "x") == 3 and r.lrem("l", 0, "x") == 1
assert r.lset("l", 0, "zero") is True and r.ltrim("l", 0, 3) is True and r.lrange("l", 0, -1) == ["zero", "1", "2", "3"]
assert r.lmove("l", "l2", "LEFT", "RIGHT") == "zero" and r.rpoplpush("l", "l2") == "3"
assert r.lrange("l2", 0, -1) == ["3", "zero"] and r.lrange("l", 0, -1) == ["1", "2"]
numbers = [str(n) for n in range(20000)]
assert r.rpush("lbig", *numbers) == 20000 and r.lrange("lbig", 0, -1) == numbers and r.lindex("lbig", 12345) == "12345"

# sets
assert r.sadd("s", 1, 2, 3) == 3 and r.object("encoding", "s") == "intset"
assert r.sadd("s2", 2, 3, "four") == 3
assert r.sinter("s", "s2") == {"2", "3"} and r.sunion("s", "s2") == {"1", "2", "3", "four"} and r.sdiff("s", "s2") == {"1"}
assert r.sinterstore("s3", "s", "s2") == 2 and r.sintercard(2, ["s", "s2"]) == 2 and r.smismember("s", [1, 9]) == [1, 0]
assert r.smove("s", "s2", 1) is True and r.smembers("s2") == {"1", "2", "3", "four"}
assert r.spop("s2") in {"1", "2", "3", "four"} and len(r.srandmember("s2", -7)) == 7
members = {f"member:{n}" for n in range(5000)}
assert r.sadd("sbig", *members) == 5000 and set(r.sscan_iter("sbig", count=50)) == members

# sorted sets
assert r.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}) == 3
assert r.zrange("z", 0, -1, withscores=True) == [("a", 1.0), ("b", 2.5), ("c", float("inf"))]
assert r.zadd("z", {"a": 5}, gt=True, ch=True) == 1 and r.zincrby("z", 0.5, "a") == 5.5
assert r.zrank("z", "a") == 1 and r.zrevrank("z", "a") == 1 and r.zscore("z", "missing") is None
assert r.zrangebyscore("z", "(2.5", "+inf") == ["a", "c"] and r.zcount("z", 0, 6) == 2
assert r.zunion(["z", "z"], aggregate="SUM", withscores=True)[0] == ("b", 5.0)
assert r.zrangestore("z2", "z", 0, 1) == 2 and r.zpopmin("z2") == [("b", 2.5)] and r.zmscore("z", ["a", "x"]) == [5.5, None]
assert r.zadd("zlex", dict.fromkeys("abcdef", 0)) == 6 and r.zrangebylex("zlex", "[b", "(e") == ["b", "c", "d"]
scores = {f"m{n}": float(n) for n in range(5000)}
assert r.zadd("zbig", scores) == 5000 and r.zrank("zbig", "m4321") == 4321 and dict(r.zscan_iter("zbig")) == scores
assert r.zrange("zbig", 10, 12) == ["m10", "m11", "m12"] and r.zremrangebyrank("zbig", 0, 99) == 100
assert "not a valid float" in fails(redis.ResponseError, "ZADD", "z", "nan", "x")

# streams
first = r.xadd("x", {"f": "1", "g": "2"}, id="5-1")
assert first == "5-1" and int(r.xadd("x", {"f": "3"}).split("-")[0]) > 5 and r.xlen("x") == 2
assert r.xrange("x", count=1) == [("5-1", {"f": "1", "g": "2"})] and r.xread({"x": "0"}, count=1)[0][1][0][0] == "5-1"
assert r.xgroup_create("x", "group", id="0") is True
delivered = r.xreadgroup("group", "worker", {"x": ">"}, count=1)
assert delivered == [["x", [("5-1", {"f": "1", "g": "2"})]]]
assert r.xpending("x", "group")["pending"] == 1 and r.xack("x", "group", "5-1") == 1
assert r.xinfo_stream("x")["length"] == 2 and r.xinfo_groups("x")[0]["name"] == "group"
assert r.xtrim("x", maxlen=1, approximate=False) == 1 and r.xdel("x", "5-1") == 0

# waiting
def later(*command):
    threading.Timer(0.1, lambda: redis.Redis(port=port).execute_command(*command)).start()
started = time.monotonic()
assert r.blpop(["nothing", "at all"], timeout=0.2) is None and 0.19 < time.monotonic() - started < 5
later("RPUSH", "jobs", "one", "two", "three")
assert tuple(r.blpop(["nothing", "jobs", "at all"], timeout=5)) == ("jobs", "one")
assert tuple(r.brpop("jobs", timeout=5)) == ("jobs", "three")
assert r.blmove("jobs", "working", 5) == "two" and r.brpoplpush("working", "done", timeout=5) == "two"
later("ZADD", "due", "1.5", "task")
assert list(r.bzpopmin(["nothing", "due"], timeout=5)) == ["due", "task", 1.5]
assert r.bzpopmax("due", timeout=0.01) is None and r.blmpop(0.01, 2, "jobs", "nothing", direction="LEFT") is None
later("XADD", "events", "1-1", "f", "v")
assert r.xread({"events": "$", "nothing": "$"}, block=5000) == [["events", [("1-1", {"f": "v"})]]]
assert not r.xread({"events": "$"}, block=10) and r.wait(1, 10) == 0
assert r.delete("done", "events") == 2

# bits, sketches, places
assert r.setbit("bits", 7, 1) == 0 and r.getbit("bits", 7) == 1 and r.bitcount("bits") == 1 and r.bitpos("bits", 1) == 7
assert r.bitop("NOT", "inverted", "bits") == 1 and r.bitfield("counter").incrby("u8", 0, 250).incrby("u8", 0, 10, "SAT").execute()[0] == 250
assert r.pfadd("sketch", *range(1000)) == 1 and abs(r.pfcount("sketch") - 1000) < 30
assert r.pfmerge("sketch2", "sketch") is True and r.pfcount("sketch2", "sketch") == r.pfcount("sketch")
assert r.geoadd("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")) == 2
assert r.geodist("geo", "Palermo", "Catania", "km") == 166.2742
assert r.geosearch("geo", longitude=15, latitude=37, radius=100, unit="km") == ["Catania"]
assert r.geohash("geo", "Palermo") == ["sqc8b49rny0"]

# what holds for any type
assert r.sort("lbig", desc=True, start=0, num=3) == ["19999", "19998", "19997"]
assert r.rename("hbig", "moved") is True and r.hlen("moved") == 5000 and r.copy("zbig", "zcopy") and r.zcard("zcopy") == 4900
assert set(r.scan_iter(_type="zset")) == {"z", "z2", "zlex", "zbig", "zcopy", "geo"}
assert r.type("x") == "stream" and r.expire("moved", 100) and r.ttl("moved") == 100
for command in ("HGET k f", "LPUSH k x", "SADD k x", "ZADD k 1 x", "XADD k * f v", "PFADD k x", "LRANGE k 0 -1"):
    name, _, *rest = command.split()
    wrong = "bits" if name not in ("PFADD",) else "l"
    assert fails(redis.ResponseError, name, wrong, *rest).startswith("WRONGTYPE") or name == "PFADD", command
assert r.delete("lbig", "sbig", "zbig", "moved") == 4 and r.flushall() is True and r.dbsize() == 0

print("ok")

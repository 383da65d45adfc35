"""redis-py's locks, scripts and functions. Argument 1 is the port of an empty server. Prints ok."""

import sys
import threading
import time

import redis

port = int(sys.argv[1])


def client(**options):
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=30, decode_responses=True, **options)


r = client()

# a lock that several clients want: each increment reads, waits and writes under it
THREADS, TIMES = 6, 15
r.set("counter", 0)


def count():
    mine = client()
    for _ in range(TIMES):
        with mine.lock("the lock", timeout=20, sleep=0.002):
            value = int(mine.get("counter"))
            time.sleep(0.001)
            mine.set("counter", value + 1)


threads = [threading.Thread(target=count) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert r.get("counter") == str(THREADS * TIMES), r.get("counter")
assert r.exists("the lock") == 0

# release, extend and reacquire are scripts that look at the token
lock = r.lock("another", timeout=5)
assert lock.acquire()
assert not r.lock("another", timeout=5).acquire(blocking=False)
assert lock.extend(10) and 5_000 < r.pttl("another") <= 15_000
assert lock.reacquire() and r.pttl("another") <= 5_000
r.set("another", "somebody else")
try:
    lock.release()
    raise AssertionError("a lock that is not owned any more")
except redis.exceptions.LockError:
    pass
assert r.get("another") == "somebody else"

# a registered script is loaded when it is missed, also in a pipeline
limit = r.register_script(
    "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end return n"
)
assert [limit(keys=["rate"], args=[60_000]) for _ in range(3)] == [1, 2, 3]
r.script_flush()
assert limit(keys=["rate"], args=[60_000]) == 4
with r.pipeline() as pipe:
    pipe.set("x", 1)
    limit(keys=["rate"], args=[60_000], client=pipe)
    pipe.incr("x")
    assert pipe.execute() == [True, 5, 2]
both = r.register_script("return {redis.call('GETSET', KEYS[1], ARGV[1]), redis.call('GETSET', KEYS[2], ARGV[1])}")
assert both(keys=["left", "right"], args=["first"]) == [None, None]
assert both(keys=["right", "left"], args=["second"]) == ["first", "first"]
try:
    r.eval("return redis.call('INCR', KEYS[1])", 1, "left")
    raise AssertionError("INCR of a text")
except redis.ResponseError as error:
    assert "not an integer" in str(error), error

# functions
code = "#!lua name=mine\nredis.register_function('both', function(keys) return redis.call('MGET', keys[1], keys[2]) end)"
assert r.function_load(code) == "mine"
assert r.fcall("both", 2, "left", "right") == ["second", "second"]
# the payload is bytes
raw = redis.Redis(host="127.0.0.1", port=port, socket_timeout=30)
payload = raw.execute_command("FUNCTION DUMP")
assert r.function_flush()
assert raw.execute_command("FUNCTION RESTORE", payload) in (True, b"OK")
assert r.fcall("both", 2, "right", "left") == ["second", "second"]
print("ok")

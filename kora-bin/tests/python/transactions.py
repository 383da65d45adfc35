"""redis-py's pipelines and its transaction helper: argument 1 is the port of an empty server. Prints ok."""

import sys
import threading

import redis

port = int(sys.argv[1])


def client(**options):
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=20, decode_responses=True, **options)


r = client()

# MULTI and EXEC around a pipeline is the default
with r.pipeline() as pipe:
    pipe.set("a", 1).incr("a").get("a").mset({"b": 2, "c": 3, "d": 4}).mget("a", "b", "c", "d").hset("h", "f", "v").hgetall("h")
    assert pipe.execute() == [True, 2, "2", True, ["2", "2", "3", "4"], 1, {"f": "v"}]
with r.pipeline(transaction=False) as pipe:
    assert pipe.get("a").get("missing").execute() == ["2", None]

# an error of one command
with r.pipeline() as pipe:
    pipe.set("s", "text").incr("s").get("s")
    try:
        pipe.execute()
        raise AssertionError("INCR of a text")
    except redis.ResponseError as error:
        assert "not an integer" in str(error), error
    assert r.get("s") == "text"
    pipe.set("s", "x").lpush("s", 1).get("s")
    results = pipe.execute(raise_on_error=False)
    assert results[0] is True and isinstance(results[1], redis.ResponseError) and results[2] == "x"

# an error of queueing
with r.pipeline() as pipe:
    pipe.set("s", "y")
    pipe.execute_command("SET", "s")
    try:
        pipe.execute()
        raise AssertionError("SET without a value")
    except redis.RedisError as error:
        assert "wrong number of arguments" in str(error), error
assert r.get("s") == "x"

# WATCH
with r.pipeline() as pipe:
    pipe.watch("a", "b")
    client().set("b", "changed")
    pipe.multi()
    pipe.set("a", "lost")
    try:
        pipe.execute()
        raise AssertionError("a watched key has changed")
    except redis.WatchError:
        pass
    pipe.watch("a", "b")
    assert pipe.get("b") == "changed"
    pipe.multi()
    assert pipe.set("a", 10).execute() == [True]

# 12 threads move money between accounts by the transaction helper, which tries again when a watched key has changed
ACCOUNTS = [f"account:{n}" for n in range(6)]
r.mset(dict.fromkeys(ACCOUNTS, 1000))
moves = 40
failures = []


def mover(number):
    own = client()
    try:
        for n in range(moves):
            source, target = ACCOUNTS[(number + n) % 6], ACCOUNTS[(number * 5 + n * 7 + 1) % 6]
            if source == target:
                continue

            def move(pipe):
                left, right = int(pipe.get(source)), int(pipe.get(target))
                pipe.multi()
                pipe.set(source, left - 1)
                pipe.set(target, right + 1)

            assert own.transaction(move, source, target) == [True, True]
            total = sum(map(int, own.mget(ACCOUNTS)))
            assert total == 6000, total
    except BaseException as error:
        failures.append(repr(error))


threads = [threading.Thread(target=mover, args=(n,)) for n in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures[:3]
assert sum(map(int, r.mget(ACCOUNTS))) == 6000
assert r.info("clients").get("watching_clients", 0) == 0

print("ok")

"""redis-py's cluster client: arguments are the first cluster port, the number of executors, the main port. Prints ok."""

import sys

import redis
from redis.cluster import ClusterNode, RedisCluster

base, executors, main = (int(argument) for argument in sys.argv[1:4])

# one node is enough: the others are learnt from CLUSTER SLOTS
cluster = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", base)], socket_timeout=10)
ports = sorted(node.port for node in cluster.get_primaries())
assert ports == [base + index for index in range(executors)], ports

for number in range(1000):
    assert cluster.set(f"key:{number}", number)
for number in range(1000):
    assert cluster.get(f"key:{number}") == str(number).encode()
assert cluster.mget_nonatomic("key:1", "key:2", "key:3") == [b"1", b"2", b"3"]
assert cluster.mset({"{t}1": 1, "{t}2": 2}) and cluster.mget("{t}1", "{t}2") == [b"1", b"2"]

# every executor holds its own part, and all of them together everything
node_sizes = [redis.Redis(host="127.0.0.1", port=port).dbsize() for port in ports]
assert redis.Redis(host="127.0.0.1", port=main).dbsize() == 1002
assert all(size > 0 for size in node_sizes), node_sizes

# each key was served where it lives: asked by hand, its owner answers and another port redirects
for number in range(50):
    key = f"key:{number}"
    owner = cluster.get_node_from_key(key).port
    for port in ports:
        connection = redis.Redis(host="127.0.0.1", port=port)
        try:
            assert connection.get(key) == str(number).encode()
            assert port == owner, f"{key} was served by {port}, its owner is {owner}"
        except redis.ResponseError as error:
            assert port != owner, f"the owner of {key} said {error}"
            assert str(error).startswith("MOVED"), error
            assert str(error).endswith(f"127.0.0.1:{owner}"), error
        connection.close()

# pipelines are split by node and put together again
pipe = cluster.pipeline()
for number in range(200):
    pipe.get(f"key:{number}")
assert pipe.execute() == [str(number).encode() for number in range(200)]

assert cluster.delete("key:1", "key:2", "key:3") == 3
assert set(cluster.scan_iter("key:*")) == {f"key:{number}".encode() for number in range(1000)} - {b"key:1", b"key:2", b"key:3"}

print("ok")

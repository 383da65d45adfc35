// ioredis as its users use it: argument 1 is the port of an empty server, argument 2, if given, the port of a cluster node. Prints ok.
"use strict";

const assert = require("node:assert");
const Redis = require("ioredis");

async function all(stream) {
  const found = [];
  for await (const page of stream) found.push(...page);
  return found;
}

async function collections(r) {
  assert.equal(await r.hset("h", { a: 1, b: "two" }), 2);
  assert.deepEqual(await r.hgetall("h"), { a: "1", b: "two" });
  assert.equal(await r.hincrby("h", "a", 41), 42);
  assert.deepEqual(await r.hmget("h", "a", "missing"), ["42", null]);

  assert.equal(await r.rpush("l", "x", "y", "z"), 3);
  assert.deepEqual(await r.lrange("l", 0, -1), ["x", "y", "z"]);
  assert.equal(await r.lpop("l"), "x");
  assert.deepEqual(await r.lpop("l", 5), ["y", "z"]);
  assert.equal(await r.exists("l"), 0);

  assert.equal(await r.sadd("s", "a", "b", "c"), 3);
  assert.deepEqual((await r.smembers("s")).sort(), ["a", "b", "c"]);
  assert.equal(await r.sismember("s", "a"), 1);

  assert.equal(await r.zadd("z", 1, "one", 2, "two", 3, "three"), 3);
  assert.deepEqual(await r.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "two", "2", "three", "3"]);
  assert.deepEqual(await r.zrangebyscore("z", "(1", "+inf"), ["two", "three"]);
  assert.equal(await r.zrank("z", "three"), 2);

  const id = await r.xadd("x", "*", "field", "value");
  assert.deepEqual(await r.xrange("x", "-", "+"), [[id, ["field", "value"]]]);
  assert.equal(await r.xgroup("CREATE", "x", "group", "0"), "OK");
  assert.deepEqual(await r.xreadgroup("GROUP", "group", "me", "COUNT", 1, "STREAMS", "x", ">"), [
    ["x", [[id, ["field", "value"]]]],
  ]);
  assert.equal(await r.xack("x", "group", id), 1);

  assert.equal(await r.setbit("bits", 3, 1), 0);
  assert.equal(await r.bitcount("bits"), 1);
  assert.equal(await r.pfadd("sketch", "a", "b", "c"), 1);
  assert.equal(await r.pfcount("sketch"), 3);
  assert.equal(await r.geoadd("geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"), 2);
  assert.equal(await r.geodist("geo", "Palermo", "Catania", "km"), "166.2742");

  await assert.rejects(r.lpush("h", "x"), /WRONGTYPE/);
  await assert.rejects(r.zadd("z", "nan", "x"), /not a valid float/);
}

async function main() {
  const r = new Redis({ port: Number(process.argv[2]), host: "127.0.0.1", commandTimeout: 20000 });
  await collections(r);

  // Binary members come back as they went in.
  const binary = Buffer.from([0, 13, 10, 255]);
  await r.hset("binary", binary, binary);
  assert.deepEqual((await r.hgetallBuffer("binary"))[binary.toString("binary")] ?? (await r.hgetBuffer("binary", binary)), binary);

  // Pipelines keep their order.
  const pipeline = r.pipeline();
  for (let n = 0; n < 1000; n++) pipeline.zadd("zbig", n, `m${n}`).hset("hbig", `f${n}`, n).rpush("lbig", n);
  const replies = await pipeline.exec();
  assert.equal(replies.length, 3000);
  assert.ok(replies.every(([error]) => error === null));
  assert.equal(await r.llen("lbig"), 1000);

  // The scan streams see everything.
  assert.equal(new Set(await all(r.zscanStream("zbig", { count: 50 }))).size >= 1000, true);
  const fields = await all(r.hscanStream("hbig", { count: 50 }));
  assert.equal(new Set(fields.filter((_, index) => index % 2 === 0)).size, 1000);
  assert.ok((await all(r.scanStream({ match: "*big" }))).sort().join() === "hbig,lbig,zbig");

  // Sets over several keys.
  await r.sadd("one", 1, 2, 3);
  await r.sadd("two", 2, 3, 4);
  assert.deepEqual((await r.sinter("one", "two")).sort(), ["2", "3"]);
  assert.equal(await r.sunionstore("union", "one", "two"), 4);
  assert.equal(await r.zunionstore("zunion", 2, "z", "zbig"), 1003);
  assert.equal(await r.smove("one", "two", 1), 1);
  await r.rpush("from", "a", "b");
  assert.equal(await r.lmove("from", "to", "LEFT", "RIGHT"), "a");
  assert.equal(await r.rename("zunion", "renamed"), "OK");
  assert.equal(await r.flushall(), "OK");
  r.disconnect();

  if (process.argv[3]) {
    const cluster = new Redis.Cluster([{ port: Number(process.argv[3]), host: "127.0.0.1" }]);
    await collections(cluster);
    cluster.disconnect();
  }
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

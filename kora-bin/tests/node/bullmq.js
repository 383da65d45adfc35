// BullMQ: jobs with delays, priorities, retries and children. Arguments: port, key prefix. Prints ok.
const assert = require("assert");
const { FlowProducer, Queue, Worker } = require("bullmq");

const [, , port, prefix] = process.argv;
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };
const JOBS = 300;
const PATIENCE = 40_000;

async function main() {
    const queue = new Queue("work", { connection, prefix });
    const finished = new Map();
    const failedOnce = new Set();
    const work = async (job) => {
        if (job.data.n % 10 === 3 && job.data.n < JOBS && !failedOnce.has(job.id)) {
            failedOnce.add(job.id);
            throw new Error("the first attempt fails");
        }
        finished.set(job.id, (finished.get(job.id) || 0) + 1);
        return job.data.n * 2;
    };
    const workers = [0, 1].map(() => new Worker("work", work, { connection, prefix, concurrency: 10 }));
    const errors = [];
    workers.forEach((worker) => worker.on("error", (error) => errors.push(error.message)));

    const jobs = [];
    for (let n = 0; n < JOBS; n++) {
        const options = { attempts: 3, backoff: 10, delay: n % 11 === 0 ? 200 : 0 };
        jobs.push({ name: "job", data: { n }, opts: n % 7 === 0 ? { ...options, priority: 5 } : options });
    }
    await queue.addBulk(jobs);
    const flow = new FlowProducer({ connection, prefix });
    const children = [1001, 1002].map((n) => ({ name: "child", queueName: "work", data: { n } }));
    const tree = await flow.add({ name: "parent", queueName: "work", data: { n: 1000 }, children });

    const deadline = Date.now() + PATIENCE;
    let counts;
    do {
        assert(Date.now() < deadline, `${finished.size} jobs are finished, ${JSON.stringify(counts)}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        counts = await queue.getJobCounts();
    } while (counts.completed < JOBS + 3);
    assert.deepStrictEqual(errors, []);
    assert.strictEqual(finished.size, JOBS + 3);
    assert([...finished.values()].every((times) => times === 1), "a job was done twice");
    assert.strictEqual(failedOnce.size, JOBS / 10);
    for (const [state, count] of Object.entries(counts)) {
        assert.strictEqual(count, state === "completed" ? JOBS + 3 : 0, state);
    }
    const values = Object.values(await tree.job.getChildrenValues());
    assert.deepStrictEqual(values.sort(), [2002, 2004]);

    await Promise.all(workers.map((worker) => worker.close()));
    await Promise.all([queue.close(), flow.close()]);
    console.log("ok");
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});

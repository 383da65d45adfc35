"""rq: two workers in processes of their own run jobs. Argument 1 is the port of an empty server. Prints ok."""

import subprocess
import sys

import redis
from rq import Queue, Worker
from rq.registry import FailedJobRegistry, FinishedJobRegistry

import rq_work

JOBS = 30
connection = redis.Redis(host="127.0.0.1", port=int(sys.argv[1]), socket_timeout=60)
queue = Queue("work", connection=connection)

if len(sys.argv) > 2:
    # Standard output is the test's; what the worker has to say is not looked at.
    sys.exit(0 if Worker([queue], connection=connection, name=sys.argv[2]).work(burst=True) else 1)

good = [queue.enqueue(rq_work.double, number) for number in range(JOBS)]
after = queue.enqueue(rq_work.double, 1000, depends_on=good[0])
bad = [queue.enqueue(rq_work.fail, number) for number in range(3)]
assert len(queue) == JOBS + 3
workers = []
for name in ["one", "two"]:
    arguments = [sys.executable, __file__, sys.argv[1], name]
    workers.append(subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
for worker in workers:
    assert worker.wait(timeout=50) == 0
assert [job.result for job in good] == [number * 2 for number in range(JOBS)]
assert after.result == 2000
assert len(queue) == 0
assert len(FinishedJobRegistry(queue=queue)) == JOBS + 1
failed = FailedJobRegistry(queue=queue)
assert sorted(failed.get_job_ids()) == sorted(job.id for job in bad)
for job in bad:
    job.refresh()
    assert "fails" in job.exc_info
print("ok")

"""What the jobs of rq_jobs.py do; workers import it."""


def double(number):
    return number * 2


def fail(number):
    raise ValueError(f"job {number} fails")

"""Appends records to a file and syncs each of them: the least that a ledger can cost."""

import os
import time

from tools.bench.programs import job as jobs


def main() -> None:
    """Writes the job's `records` of `size` bytes, with a pause of `pause_seconds` before each: a disk and a processor
    were idle meanwhile take longer."""
    job = jobs.read()
    record = b"x" * job["size"]
    seconds = []
    descriptor = os.open(f"{job['folder']}/appended", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(job["records"]):
        time.sleep(job["pause_seconds"])
        started = time.perf_counter()
        os.write(descriptor, record)
        os.fsync(descriptor)
        seconds.append(time.perf_counter() - started)
    written = os.fstat(descriptor).st_size
    os.close(descriptor)
    jobs.answer(job, seconds=seconds, bytes=written)


if __name__ == "__main__":
    main()

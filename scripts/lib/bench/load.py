"""Load by wrk, and the CPU time that the worker takes for it."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import client
import tokens
from servers import TIED_TO_US, Failure, Nginx

CONNECTIONS = 16
_SCRIPT = Path(__file__).with_name("tokens.lua")


@contextlib.contextmanager
def one_processor():
    """Keeps what is started within it on one processor: the worker then finds the same number of
    events at a time however fast it is. With a processor of its own the faster of two workers waits
    more often, and pays for being woken up."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(ours)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def cpu_per_request(gateway: Nginx, indices: range, once: bool = False) -> float:
    """Microseconds of the worker's, as `load` is run."""
    return cpu_per_request_of(gateway, lambda: load(gateway, indices, once))


def cpu_per_request_of(gateway: Nginx, load: Callable[[], int]) -> float:
    """Microseconds of the worker's, for as many requests as `load` says that it has made."""
    worker = client.worker_pid(gateway)
    before = _cpu_time(worker)
    requests = load()
    return (_cpu_time(worker) - before) / requests / 1000


def load(gateway: Nginx, indices: range, once: bool = False) -> int:
    """Runs wrk for a second over tokens in turn, beginning with any, or each `once` at most; how
    many requests it has made, all of which have to be answered well."""
    begin = 0 if once else random.randrange(len(indices))
    requests = wrk(gateway, _SCRIPT, [tokens.START, indices.start, len(indices), begin])
    if once and requests + CONNECTIONS > len(indices):
        raise Failure(f"{len(indices):,} tokens do not suffice for a second of load")
    return requests


def wrk(gateway: Nginx, script: Path, arguments: list) -> int:
    """Runs wrk for a second with the requests of that script; how many it has made."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1s", "-s", str(script)]
    command += [f"http://{gateway.address}/", "--", *map(str, arguments)]
    done = subprocess.run(
        [*TIED_TO_US, *command], cwd=gateway.folder, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines or not lines[-1].startswith("requests "):
        raise Failure(f"wrk failed:\n{done.stdout}{done.stderr}")
    requests, errors = map(int, lines[-1].split()[1:])
    if errors or not requests:
        raise Failure(
            f"wrk counts {errors} errors in {requests} requests: a 403 among them is a wrong JWT"
        )
    gateway.answered += requests
    return requests


def _cpu_time(pid: int) -> int:
    """Nanoseconds. /proc/PID/stat has the same in hundredths of a second."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])

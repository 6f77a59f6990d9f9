"""CPU time of the worker per request, over interleaved runs of wrk."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path

import client
import tokens
from figures import Figure, ratio
from servers import TIED_TO_US, Failure, Nginx
from testbed import Testbed

_TOKENS = (1, 1_000, 100_000)
_CONNECTIONS = 16
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


def measure(testbed: Testbed, quick: bool) -> list[Figure]:
    """Of a testbed that was made within `one_processor`."""
    pairs = 8 if quick else 30
    gateways = testbed.plain(), testbed.translating()
    workers = [client.worker_pid(gateway.port) for gateway in gateways]
    testbed.expected_questions = max(_TOKENS)
    return [_compare(gateways, workers, count, pairs, testbed.folder) for count in _TOKENS]


def _compare(gateways, workers, count: int, pairs: int, folder: Path) -> Figure:
    for gateway in gateways:
        client.send(gateway.port, tokens.tokens(count), in_flight=64)
        _load(gateway, count, folder)
    used = [], []
    for pair in range(pairs):
        # The first of a pair changes, so that a drift favours neither.
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            before = _cpu_time(workers[which])
            requests = _load(gateways[which], count, folder)
            used[which].append((_cpu_time(workers[which]) - before) / requests / 1000)
    name = f"CPU, {count:,} token{'s' * (count > 1)}"
    return ratio(name, "µs", *used, decimals=2)


def _load(gateway: Nginx, count: int, folder: Path) -> int:
    """Runs wrk for a second; how many requests it has made, all of which have to be answered well."""
    start = random.randrange(count)
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", "-d1s", "-s", str(_SCRIPT)]
    command += [f"http://{gateway.address}/", "--", tokens.START, str(count), str(start)]
    done = subprocess.run(
        [*TIED_TO_US, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines or not lines[-1].startswith("requests "):
        raise Failure(f"wrk failed:\n{done.stdout}{done.stderr}")
    requests, errors = map(int, lines[-1].split()[1:])
    if errors or not requests:
        raise Failure(f"wrk counts {errors} errors in {requests} requests")
    return requests


def _cpu_time(pid: int) -> int:
    """Nanoseconds. /proc/PID/stat has the same in hundredths of a second."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])

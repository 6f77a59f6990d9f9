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
    """Of a testbed that was made within `one_processor`.

    Each round has workers of its own: where the memory of a process happens to lie can make it faster
    or slower for as long as it lives."""
    used = {count: ([], []) for count in _TOKENS}
    rounds = 4 if quick else 15
    for number in range(rounds):
        gateways = testbed.plain(f"plain-{number}"), testbed.translating(f"hit-{number}")
        client.send(gateways[1].port, tokens.tokens(max(_TOKENS)), in_flight=64)
        # The first of a pair changes, so that a drift favours neither.
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            _load(gateways[which], max(_TOKENS), testbed.folder)
        for count, pair in used.items():
            for which in order:
                pair[which].append(_per_request(gateways[which], count, testbed.folder))
        for gateway in gateways:
            gateway.stop()
    testbed.expected_questions = rounds * max(_TOKENS)
    return [
        ratio(f"CPU, {count:,} token{'s' * (count > 1)}", "µs", *pair, decimals=2)
        for count, pair in used.items()
    ]


def _per_request(gateway: Nginx, count: int, folder: Path) -> float:
    """Microseconds of the worker's."""
    worker = client.worker_pid(gateway.port)
    before = _cpu_time(worker)
    requests = _load(gateway, count, folder)
    return (_cpu_time(worker) - before) / requests / 1000


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

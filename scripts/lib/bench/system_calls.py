"""System calls per request, counted by strace; what does not recur is left out as with
instructions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import client
from figures import Figure, Result, difference
from run import Run
from servers import TIED_TO_US

# The same few calls for each request: a thousand requests tell as much as a million.
_COUNTS = (200, 1200)


def measure(run: Run) -> Result:
    with run.testbed("system-calls", single_process=True) as testbed:
        plain = _per_request(testbed.plain, testbed.folder)
        hit = _per_request(testbed.translating, testbed.folder)
        testbed.expect_questions(2)

    total = sum(plain.values()), sum(hit.values())
    figures = [_figure("system calls per hit", *total, target=0)]
    for name in sorted({*plain, *hit}):
        # Once in a hundred requests is a matter of timing, not of the way of a request.
        if abs(plain[name] - hit[name]) >= 0.01:
            figures.append(_figure(f"of these {name}", plain[name], hit[name]))
    return Result(figures)


def _figure(name: str, plain: float, hit: float, **options) -> Figure:
    return difference(name, "calls", [plain], [hit], decimals=2, **options)


def _per_request(start, folder: Path) -> Counter:
    few, many = (_calls(start, f"{start.__name__}-{count}", folder, count) for count in _COUNTS)
    many.subtract(few)
    return Counter({name: n / (_COUNTS[1] - _COUNTS[0]) for name, n in many.items()})


def _calls(start, name: str, folder: Path, count: int) -> Counter:
    file = folder / f"{name}.strace"
    # strace would let NGINX go on if it were killed.
    gateway = start(name, under=["strace", "-f", "-c", "-q", "-o", str(file), *TIED_TO_US])
    client.send(gateway, [0] * count)
    gateway.stop()

    calls = Counter()
    for line in file.read_text().splitlines():
        fields = line.split()
        # % time, seconds, usecs/call, calls, errors if any, name
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            calls[fields[-1]] += int(fields[3])
    return calls

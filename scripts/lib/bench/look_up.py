"""Time of a look-up in the core, the hash of the token included: among many entries beside few, and
what the machine takes to copy as many bytes from a random place of as much memory."""

from __future__ import annotations

import re
import statistics
import subprocess

from figures import Result, ratio, value
from load import one_processor
from run import Run
from servers import TIED_TO_US, Failure

_FEW, _MANY = 1_000, 1_000_000
_TARGET_RATIO = 3
_TARGET_P99_NS = 2_000


def measure(run: Run) -> Result:
    if run.core is None:
        raise Failure("the core's benchmark is not named; scripts/bench builds it and does so")
    rounds, many = (1, 10_000) if run.quick else (7, _MANY)
    times = {(what, n): [] for what in ("hit", "copy") for n in (_FEW, many)}
    with one_processor():
        for _ in range(rounds):
            for (what, n), found in times.items():
                found.append(_p50_and_p99(run.core, what, n))

    def p50(what: str, n: int) -> list[float]:
        return [p50 for p50, _ in times[what, n]]

    def p99(what: str) -> float:
        return statistics.median(p99 for _, p99 in times[what, many])

    beside = f"{many:,} beside {_FEW:,}"
    return Result(
        [
            ratio(
                f"look-up among entries, {beside}",
                "ns",
                p50("hit", _FEW),
                p50("hit", many),
                target=_TARGET_RATIO,
            ),
            ratio(
                f"mere copy of 1,200 bytes, of places {beside}",
                "ns",
                p50("copy", _FEW),
                p50("copy", many),
            ),
            value(f"look-up among {many:,} entries, p99", "ns", p99("hit"), target=_TARGET_P99_NS),
            value(f"mere copy, of {many:,} places, p99", "ns", p99("copy")),
        ]
    )


def _p50_and_p99(core: str, what: str, number: int) -> tuple[float, float]:
    command = [*TIED_TO_US, core, what, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r" p50 (\d+) ns  p99 (\d+) ns ", done.stdout)
    if done.returncode != 0 or not found:
        raise Failure(f"the core's benchmark failed:\n{done.stdout}{done.stderr}")
    return float(found[1]), float(found[2])

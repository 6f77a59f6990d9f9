"""CPU time of the worker per hit, over interleaved runs of wrk."""

from __future__ import annotations

import client
from figures import Figure, Result, ratio
from load import cpu_per_request, load, one_processor
from run import Run

# How many tokens, and what the ratio may be.
_TARGETS = {1: 1.05, 1_000: 1.05, 100_000: 1.10}


def measure(run: Run) -> Result:
    """Each round has workers of its own: where the memory of a process happens to lie can make it
    faster or slower for as long as it lives."""
    rounds = 1 if run.quick else 15
    # Quickly: what it takes is mostly to fill the cache.
    targets = {count: most for count, most in _TARGETS.items() if count <= 1_000 or not run.quick}
    every = range(max(targets))
    used = {count: ([], []) for count in targets}
    with one_processor(), run.testbed("cpu") as testbed:
        for number in range(rounds):
            gateways = testbed.plain(f"plain-{number}"), testbed.translating(f"hit-{number}")
            client.send(gateways[1], every, in_flight=64)
            # The first of a pair changes, so that a drift favours neither.
            order = (0, 1) if number % 2 == 0 else (1, 0)
            if not run.quick:
                for which in order:
                    load(gateways[which], every)
            for count, pair in used.items():
                for which in order:
                    pair[which].append(cpu_per_request(gateways[which], range(count)))
            for gateway in gateways:
                gateway.stop()
        testbed.expect_questions(rounds * len(every))
    return Result([_figure(count, pair, targets[count]) for count, pair in used.items()])


def _figure(count: int, pair: tuple[list, list], target: float) -> Figure:
    name = f"CPU per hit, {count:,} token{'s' * (count > 1)}"
    return ratio(name, "µs", *pair, decimals=2, target=target)

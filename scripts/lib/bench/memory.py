"""How much of a zone a cached JWT of 1,200 bytes takes, with all that NGINX and the module keep
beside: the size of a full zone divided by the number of tokens that are hits in it."""

from __future__ import annotations

import client
from figures import Result, value
from run import Run

_TARGET = 1_450


def measure(run: Run) -> Result:
    megabytes = 4 if run.quick else 16
    size = megabytes << 20
    # More than there is room for.
    stored = range(size // 1_200)
    with run.testbed("memory") as testbed:
        gateway = testbed.translating(zone=f"{megabytes}m")
        client.send(gateway, stored, in_flight=64)
        # The oldest have gone. Asked for last, they take the place of what was counted before.
        client.send(gateway, reversed(stored), in_flight=64)
        testbed.expect_questions(len(stored) + 1, 2 * len(stored) - 1)
        hits = 2 * len(stored) - testbed.questions()
    name = f"memory per JWT in a zone of {megabytes} MB"
    return Result([value(name, "bytes", size / hits, target=_TARGET)])

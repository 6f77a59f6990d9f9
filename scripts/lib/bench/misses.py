"""CPU time of the worker per miss: every request brings a token that nobody has asked about, over
connections that are kept on all sides, as many as the worker can take."""

from __future__ import annotations

from figures import Result, ratio
from load import CONNECTIONS, cpu_per_request, load, one_processor
from run import Run

_TARGET = 4.0
# The default, full after so many entries: from then on each one takes the place of another.
_ZONE, _ENTRIES = "16m", 12_000
# More tokens than a second of load can use.
_BLOCK = 100_000


def measure(run: Run) -> Result:
    rounds = 1 if run.quick else 15
    plain_used, miss_used = [], []
    loads = 0
    with one_processor(), run.testbed("misses") as testbed:
        for number in range(rounds):
            plain = testbed.plain(f"plain-{number}")
            asking = testbed.translating(f"miss-{number}", zone=_ZONE)
            # The zone of a gateway knows no token from before.
            blocks = iter(range(0, 100 * _BLOCK, _BLOCK))

            def once() -> range:
                begin = next(blocks)
                return range(begin, begin + _BLOCK)

            if not run.quick:
                load(plain, once())
                filled = 0
                while filled < _ENTRIES:
                    filled += load(asking, once(), once=True)
                    loads += 1
            # The first of a pair changes, so that a drift favours neither.
            measurements = [(plain, plain_used), (asking, miss_used)]
            for gateway, used in measurements if number % 2 == 0 else reversed(measurements):
                used.append(cpu_per_request(gateway, once(), once=True))
            loads += 1
            plain.stop()
            asking.stop()
        # wrk does not wait for the last answers.
        asked = testbed.answered()
        testbed.expect_questions(asked, asked + loads * CONNECTIONS)
    return Result([ratio("CPU per miss", "µs", plain_used, miss_used, decimals=2, target=_TARGET)])

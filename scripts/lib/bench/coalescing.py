"""How often the authorization server is asked when many bring unknown tokens at once, to two
workers, and how long they wait for its answer."""

from __future__ import annotations

from collections import Counter

import tokens
from crowd import Crowd
from figures import Result, paired_difference, value
from run import Run
from servers import Failure, SlowServer

_WORKERS = 2
_DELAY_MS = 50
# The last answer comes at most so much later than the delay and the same requests as hits explain.
_TARGET_MS = 15

_REQUESTS = 500
_SEVERAL_TOKENS, _OF_EACH = 50, 40


def measure(run: Run) -> Result:
    rounds = 2 if run.quick else 25
    gateway_options = {"workers": _WORKERS, "connections": 8192, "idle": 2048}
    with run.testbed("coalescing") as testbed, SlowServer(
        testbed.folder, _DELAY_MS / 1000, _DELAY_MS / 1000
    ) as server:
        gateway = testbed.translating(authorization_server=server.address, **gateway_options)
        new = iter(range(tokens.ALL))
        with _crowd(gateway, _REQUESTS) as crowd:
            expected, missed = [], []
            # The first round opens the connections to the API.
            for _ in range(1 + rounds):
                token = next(new)
                missed.append(crowd.ask([token] * _REQUESTS))
                expected.append(crowd.ask([token] * _REQUESTS) + _DELAY_MS)
        questions = _check(server, 1 + rounds)

        with _crowd(gateway, _SEVERAL_TOKENS * _OF_EACH) as crowd:
            # Each token's requests come with those of all others between them.
            crowd.ask([next(new) for _ in range(_SEVERAL_TOKENS)] * _OF_EACH)
        of_several = _check(server, 1 + rounds + _SEVERAL_TOKENS) - questions

    what = f"{_REQUESTS} requests at once, one new token, {_WORKERS} workers"
    others = f"{_SEVERAL_TOKENS} new tokens x {_OF_EACH} requests at once"
    return Result(
        [
            value(f"{what}: questions", "", questions / (1 + rounds), target=1),
            paired_difference(
                f"the last answer, beside the same as hits + {_DELAY_MS} ms",
                "ms",
                expected[1:],
                missed[1:],
                decimals=1,
                target=_TARGET_MS,
            ),
            value(f"{others}: questions", "", of_several, target=_SEVERAL_TOKENS),
        ]
    )


def _crowd(gateway, size: int) -> Crowd:
    crowd = Crowd(gateway, size)
    if len(crowd.workers) != _WORKERS or min(crowd.workers.values()) * 4 < size:
        raise Failure(f"the workers have {sorted(crowd.workers.values())} of {size} connections")
    return crowd


def _check(server: SlowServer, expected: int) -> int:
    """One question about each token."""
    asked = Counter(server.asked())
    if len(asked) != expected or set(asked.values()) != {1}:
        raise Failure(
            f"{asked.total()} questions about {len(asked)} of {expected} tokens, not one about each"
        )
    return asked.total()

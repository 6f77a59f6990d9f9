"""A client's next request on its connection while the verdict on its token is confirmed in the
background, beside the same where nothing is confirmed."""

from __future__ import annotations

import contextlib
import time

import client
import tokens
from figures import Result, difference, value
from run import Run
from servers import Failure, SlowServer

# Twice as old, a verdict is asked about again in the foreground.
_REFRESH_S = 3
_DELAY_S = 2
# By how much the next request may be later, in milliseconds. One that waits is 2,000 late.
_TARGET_MS = 1


def measure(run: Run) -> Result:
    clients = 3 if run.quick else 30
    plain_ms, refreshed_ms = [], []
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(run.testbed("refresh"))
        server = stack.enter_context(SlowServer(testbed.folder, 0, _DELAY_S))
        gateways = [
            testbed.translating(name, authorization_server=server.address, directives=directives)
            for name, directives in (
                ("not-refreshed", ""),
                ("refreshed", f"phantom_token_cache_refresh {_REFRESH_S}s;"),
            )
        ]
        pairs = [
            [stack.enter_context(client.connect(gateway)) for gateway in gateways]
            for _ in range(clients)
        ]
        for index, (not_refreshed, refreshed) in enumerate(pairs):
            client.ask(not_refreshed, index)
            client.ask(refreshed, clients + index)
        # Until the verdicts have aged.
        time.sleep(_REFRESH_S + 0.1)
        for index, (not_refreshed, refreshed) in enumerate(pairs):
            client.ask(not_refreshed, index)
            client.ask(refreshed, clients + index)
            token = tokens.token(clients + index)
            _wait_until(lambda: server.asked().count(token) == 2)
            measurements = [
                (plain_ms, not_refreshed, index),
                (refreshed_ms, refreshed, clients + index),
            ]
            # The first of a pair finds the processor colder.
            for times, connection, token_index in measurements[:: 1 if index % 2 == 0 else -1]:
                times.append(_next(connection, token_index))
            if server.answered().count(token) != 1:
                raise Failure("a request during a refresh was answered after it")
        for gateway in gateways:
            gateway.answered += 3 * clients
        # No gateway ends with a question in flight.
        _wait_until(lambda: len(server.answered()) == len(server.asked()))
        asked = len(server.asked())
        if asked != 3 * clients:
            raise Failure(f"{asked} questions and not {3 * clients}: each token is refreshed once")
    return Result(
        [
            difference(
                f"the next request during a refresh of {_DELAY_S:,} s",
                "ms",
                plain_ms,
                refreshed_ms,
                decimals=2,
                target=_TARGET_MS,
            ),
            value("the slowest of these", "ms", max(refreshed_ms), decimals=2),
        ]
    )


def _next(connection, index: int) -> float:
    begin = time.monotonic()
    client.ask(connection, index)
    return (time.monotonic() - begin) * 1000


def _wait_until(condition) -> None:
    deadline = time.monotonic() + client.TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise Failure("an aging verdict is not confirmed in the background")
        time.sleep(0.001)

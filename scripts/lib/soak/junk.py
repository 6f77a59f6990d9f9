"""Tokens that nobody issued, as many as there are, through a zone of 16 MB that holds valid ones."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import configuration
import population
import single
from authorization_server import AuthorizationServer
from gateway import Gateway
from servers import Failure, Nginx

_VALID = 5000
_MOST_QUESTIONS = 64
# So many connections bring junk while the bound is kept, and while it is exceeded.
_STEADY_FLOOD = 56
_BURST = 192
# Requests that a connection brings at once.
_AT_ONCE = 25
# The authorization server takes so many seconds: long enough for questions to be in flight together.
_DELAY = (0.002, 0.004)


def run(binary: str, module: str, folder: Path, junk: int) -> dict:
    folder.mkdir()
    (folder / "api").mkdir()
    api = Nginx(binary, configuration.api(), folder / "api")
    server = AuthorizationServer(_DELAY, 0)
    try:
        conf = configuration.gateway(
            module, api.address, server.address, workers=2, zone="16m", most=_MOST_QUESTIONS
        )
        gateway = Gateway(binary, conf, folder / "gateway")
        try:
            return _run(gateway, server, junk)
        finally:
            gateway.stop()
    finally:
        server.stop()
        api.stop()


def _run(gateway: Gateway, server: AuthorizationServer, junk: int) -> dict:
    valid = [population.token("steady", number).text for number in range(_VALID)]
    statuses = asyncio.run(_flood(gateway.port, valid, _STEADY_FLOOD))
    if statuses != {"200": _VALID}:
        raise Failure(f"{_VALID} valid tokens were answered {dict(statuses)}")

    begin = time.monotonic()
    statuses = asyncio.run(_flood(gateway.port, _junk(0, junk), _STEADY_FLOOD))
    took = time.monotonic() - begin
    if statuses != {"401": junk}:
        raise Failure(f"{junk} junk tokens were answered {dict(statuses)}")

    burst = _junk(junk, max(junk // 20, 2 * _BURST * _AT_ONCE))
    beyond = asyncio.run(_flood(gateway.port, burst, _BURST))
    figures = server.figures()
    if set(beyond) != {"401", "503"}:
        raise Failure(f"beyond the bound, junk was answered {dict(beyond)}")
    asked = _VALID + junk + beyond["401"]
    if figures["questions"] != asked:
        raise Failure(f"{figures['questions']} questions about {asked} tokens")
    if figures["most_in_flight"] > _MOST_QUESTIONS:
        raise Failure(f"{figures['most_in_flight']} questions at once, {_MOST_QUESTIONS} allowed")

    kept = Counter(str(r) for r in single.ask(gateway.port, "/keep", valid, _AT_ONCE))
    further = server.figures()["questions"] - asked
    if kept != {"200 HIT": _VALID} or further:
        raise Failure(f"afterwards the valid tokens are {dict(kept)}, {further} further questions")
    return {
        "junk": junk,
        "seconds": round(took, 1),
        "per_second": round(junk / took),
        "beyond_the_bound": dict(beyond),
        "most_in_flight": figures["most_in_flight"],
        "bound": _MOST_QUESTIONS,
        "valid": _VALID,
        "valid_kept": kept["200 HIT"],
        "further_questions": further,
    }


def _junk(start: int, count: int):
    return (population.token("inactive", start + number).text for number in range(count))


async def _flood(port: int, tokens, connections: int) -> Counter:
    statuses: Counter = Counter()
    remaining = iter(tokens)
    await asyncio.gather(*(_bring(port, remaining, statuses) for _ in range(connections)))
    return statuses


async def _bring(port: int, tokens, statuses: Counter) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    while batch := list(islice(tokens, _AT_ONCE)):
        writer.write(b"".join(single.request("/keep", token) for token in batch))
        for _ in batch:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), single.TIMEOUT)
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            statuses[head[9:12].decode()] += 1
    writer.close()

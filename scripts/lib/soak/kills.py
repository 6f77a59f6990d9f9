"""Workers that are killed under load, with reloads in between: no wrong answer, no request that is
stuck, nothing for an operator to do."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import configuration
import population
import single
from authorization_server import AuthorizationServer, Outage
from gateway import Gateway
from load import Load, Population
from servers import Failure, Nginx

_CLIENTS = 48
_STEADY = 3000
# Of these all must be hits in the end.
_KEPT = 500
# What a zone of the smaller size can keep, and more than there are clients.
_MOST_QUESTIONS = 128
_ZONES = ("4m", "6m")
_WORKERS = (2, 4)
# Seconds between kills, from … to.
_PAUSE = (0.15, 0.6)
# Kills for each reload; reloads for each change of the zone's size.
_RELOAD = 4
_RESIZE = 3
# The load lasts at least so many seconds, within which there is an outage.
_LEAST = 6
# What the module says of outages of the authorization server.
_EXPECTED = (
    r"\[error\] .*phantom_token: server_busy, ",
    r"\[error\] .*phantom_token: .*verdicts past their time",
    r"\[error\] .*phantom_token: the authorization server answers again",
)


def run(
    binary: str, module: str, folder: Path, kills: int, seconds: int
) -> tuple[dict, list[str]]:
    """What was seen, and what of it must not be."""
    folder.mkdir()
    (folder / "api").mkdir()
    api = Nginx(binary, configuration.api(), folder / "api")
    try:
        outage = Outage(time.time() + 4, 20, 0.5)
        server = AuthorizationServer((0.0, 0.03), 0.2, outage)
        try:
            return _run(binary, module, folder, (api, server, outage), kills, seconds)
        finally:
            server.stop()
    finally:
        api.stop()


def _run(
    binary: str, module: str, folder: Path, peers, kills: int, seconds: int
) -> tuple[dict, list[str]]:
    api, server, outage = peers
    chance = random.Random(1)

    def conf(workers: int, zone: str):
        places = (module, api.address, server.address)
        return configuration.gateway(*places, workers=workers, zone=zone, most=_MOST_QUESTIONS)

    gateway = Gateway(binary, conf(_WORKERS[0], _ZONES[0]), folder / "gateway", _EXPECTED)
    try:
        load = Load(gateway, Population(_STEADY, chance), outage)
        begin = time.monotonic()
        bounds = (begin + _LEAST, begin + seconds)
        workers = asyncio.run(_under_load(load, conf, chance, kills, bounds))
        took = time.monotonic() - begin
        server_figures = server.figures()
        gateway.wait_for_workers(workers)
        try:
            kept, trouble = _afterwards(gateway, server, load), []
        except Failure as failure:
            kept, trouble = 0, [str(failure)]
        remarks = gateway.remarks()
        recoveries, killed = gateway.recoveries(), gateway.kills_seen()
    finally:
        gateway.stop()
    seen = {
        "seconds": round(took, 1),
        "requests": load.requests,
        "statuses": dict(load.statuses.most_common()),
        "excused": dict(load.excused),
        "longest_request": round(load.longest, 3),
        "kills": killed,
        "reloads": len(gateway.reloads),
        "recoveries": recoveries,
        "server": server_figures,
        "kept": kept,
        "remarks": dict(remarks),
    }
    if recoveries > killed:
        trouble.append(f"{recoveries} recoveries of {killed} kills")
    return seen, trouble + _problems(load, server_figures, kills, killed)


async def _under_load(
    load: Load, conf, chance: random.Random, kills: int, bounds: tuple[float, float]
) -> int:
    """Says how many workers there are to be in the end. The bounds are when it ends, at the earliest
    and whatever was done."""
    least, end = bounds
    gateway, workers, zone, done, reloads = load.gateway, _WORKERS[0], 0, 0, 0
    load.start(_CLIENTS)
    await asyncio.sleep(1)
    while (done < kills or time.monotonic() < least) and time.monotonic() < end:
        load.look_for_stuck_ones()
        await asyncio.sleep(chance.uniform(*_PAUSE))
        if gateway.process.poll() is not None:
            raise Failure("NGINX has ended")
        gateway.kill_one(chance)
        done = gateway.kills_seen()
        if done // _RELOAD > reloads:
            reloads += 1
            workers = chance.randint(*_WORKERS)
            zone += reloads % _RESIZE == 0
            gateway.reload(conf(workers, _ZONES[zone % len(_ZONES)]))
    # What was killed last leaves something behind for those who live on.
    await asyncio.sleep(1)
    await load.stop()
    return workers


def _afterwards(gateway: Gateway, server: AuthorizationServer, load: Load) -> int:
    """Everything works, and nothing of the dead is in the way. Says how many tokens are hits."""
    deadline = time.monotonic() + single.TIMEOUT
    while server.figures()["in_flight"]:
        if time.monotonic() > deadline:
            raise Failure("the authorization server is still being asked")
        time.sleep(0.01)
    while load.outage.covers(time.time(), time.time() + 5, 2.5):
        time.sleep(0.1)
    [alone] = single.ask(gateway.port, "/alone", [population.token("steady", _STEADY).text])
    if (alone.status, alone.cache_status) != (200, "MISS"):
        raise Failure(f"where one question is allowed, none can be asked: {alone}")
    kept = [token.text for token in load.tokens.steady[:_KEPT]]
    for token, response in zip(kept, single.ask(gateway.port, "/keep", kept)):
        if response.status != 200 or population.claims(response.body[7:])["sub"] != token:
            raise Failure(f"{token}: {response} after the last kill")
    before = server.figures()["questions"]
    hits = sum(
        (response.status, response.cache_status) == (200, "HIT")
        for response in single.ask(gateway.port, "/keep", kept)
    )
    further = server.figures()["questions"] - before
    if hits != _KEPT or further:
        raise Failure(f"{hits} of {_KEPT} tokens are hits, with {further} further questions")
    return hits


def _problems(load: Load, figures: dict, kills: int, killed: int) -> list[str]:
    """What is wrong; also that such a run could pass by doing nothing."""
    problems = []
    if load.failed:
        problems += [f"{load.failed} wrong answers:", *load.failures]
    if killed < kills:
        problems.append(f"only {killed} of {kills} kills in the time that there was")
    passed = sum(count for name, count in load.statuses.items() if name.startswith("200 "))
    hits = load.statuses["200 HIT"]
    if hits * 2 < passed:
        problems.append(f"only {hits} of {passed} requests that passed were hits")
    for what in ("200 WAIT", "200 MISS", "200 STALE", "401 inactive", "401 expired"):
        if not load.statuses[what]:
            problems.append(f"no request ended with {what}")
    if not figures["cut_off"]:
        problems.append("no question was in flight when its worker was killed")
    if figures["most_in_flight"] > _MOST_QUESTIONS:
        problems.append(f"more questions at once than {_MOST_QUESTIONS}")
    return problems

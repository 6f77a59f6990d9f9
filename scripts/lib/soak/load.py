"""Clients that send requests without end, one at a time each, and check every response."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections import Counter

import configuration
import population
from population import ENDING, INACTIVE, REVOKED, SLOW, STEADY, Token

# A clock is read before what it is compared with, and NGINX reads its own once per event loop.
GRANULARITY = 0.25
# A request may wait for a question, ask itself, and be answered by the API.
LONGEST = configuration.LOCK_TIMEOUT + 2 * configuration.PROXY_TIMEOUT + 1
# Fresh at most so long, by phantom_token_cache_refresh; past its time so much longer.
FRESH = min(configuration.MAX_TTL, 2 * configuration.REFRESH)
STALE = FRESH + configuration.USE_STALE
# After an outage the server is left alone for at most so long.
BACK_OFF = 2.5
# Failures that are told.
TOLD = 10

_claims = functools.lru_cache(maxsize=16384)(population.claims)


class Population:
    """Which tokens are asked for: most often a few that stay, some that were not asked for lately, and
    some whose end is near or has just been."""

    def __init__(self, steady: int, chance: random.Random):
        self.chance = chance
        self.steady = [population.token(STEADY, number) for number in range(steady)]
        self.slow = [population.token(SLOW, number) for number in range(20)]
        self.inactive = [population.token(INACTIVE, number) for number in range(500)]
        self.passing: list[Token] = []
        self._made = 0

    def next(self) -> Token:
        chance = self.chance
        kind = chance.random()
        if kind < 0.55:
            return chance.choice(self.steady[:400])
        if kind < 0.65:
            return chance.choice(self.steady)
        if kind < 0.70:
            return chance.choice(self.slow)
        if kind < 0.82:
            return chance.choice(self.inactive)
        return self._passing()

    def _passing(self) -> Token:
        """One of about a hundred; each is asked for until some time after its end."""
        place = self.chance.randrange(100)
        if place >= len(self.passing):
            self.passing.append(self._new())
            return self.passing[-1]
        if time.time() > self.passing[place].until + STALE + 1:
            self.passing[place] = self._new()
        return self.passing[place]

    def _new(self) -> Token:
        self._made += 1
        until = int(time.time()) + self.chance.randint(2, 6)
        return population.token(self.chance.choice((ENDING, REVOKED)), self._made, until)


class Load:
    """What the clients share: the tokens, what is known of kills and outages, and what they saw."""

    def __init__(self, gateway, tokens: Population, outage):
        self.gateway, self.tokens, self.outage = gateway, tokens, outage
        self.statuses: Counter = Counter()
        self.excused: Counter = Counter()
        self.failures: list[str] = []
        self.failed = self.requests = 0
        self.longest = 0.0
        self.running = True
        self._clients: list[_Client] = []

    def start(self, clients: int) -> None:
        for _ in range(clients):
            client = _Client(self)
            self._clients.append(client)
            client.connect()

    async def stop(self) -> None:
        """Returns when every request has been answered, or is stuck."""
        self.running = False
        while any(client.is_waiting() for client in self._clients):
            self.look_for_stuck_ones()
            await asyncio.sleep(0.01)
        for client in self._clients:
            client.close()

    def look_for_stuck_ones(self) -> None:
        now = time.time()
        for client in self._clients:
            if client.is_waiting() and now - client.sent > LONGEST:
                self.fail(client.token, f"no answer after {now - client.sent:.1f} s")
                client.give_up()

    def fail(self, token: Token | None, what: str) -> None:
        self.failed += 1
        if len(self.failures) < TOLD:
            self.failures.append(f"{token.text if token else 'no token'}: {what}")

    def check(self, token: Token, sent: float, status: int, head: dict, body: str) -> None:
        now = time.time()
        self.requests += 1
        self.longest = max(self.longest, now - sent)
        cache_status = head.get("cache-status", "")
        self.statuses[f"{status} {head.get('error') or cache_status}"] += 1
        if status == 200:
            wrong = _wrong_pass(token, sent, cache_status, body)
        elif status == 401:
            wrong = _wrong_refusal(token, now, head)
        elif status in (502, 503) and self.outage.covers(sent, now, BACK_OFF):
            self.excused["by an outage of the authorization server"] += 1
            wrong = None
        else:
            wrong = f"status {status} {head.get('error', '')}"
        if wrong:
            self.fail(token, f"{wrong} ({status} {cache_status})")

    def closed(self, client: _Client) -> None:
        """A connection was closed instead of an answer."""
        killed, reloads = self.gateway.killed, self.gateway.reloads
        since = client.connected - GRANULARITY
        if client.worker in killed or (
            client.worker is None and any(at > since for at in killed.values())
        ):
            self.excused["by the death of the worker"] += 1
        elif not client.has_begun() and any(at > since for at in reloads):
            # As any keep-alive connection may be, while the next request is on its way.
            self.excused["by a worker that ends after a reload"] += 1
        else:
            self.fail(client.token, f"closed without an answer by worker {client.worker}")


def _wrong_pass(token: Token, sent: float, cache_status: str, body: str) -> str | None:
    if not body.startswith("Bearer ") or body.count(".") != 2:
        return "the API got no JWT"
    claims = _claims(body[7:])
    if claims["sub"] != token.text:
        return f"the API got the JWT of {claims['sub']}"
    if sent >= claims["exp"] + GRANULARITY:
        return f"the JWT was over for {sent - claims['exp']:.3f} s when the request was sent"
    if claims["at"] >= token.until:
        return "a verdict that was never given"
    known = STALE if cache_status == "STALE" else FRESH
    if sent - claims["at"] > known + GRANULARITY:
        return f"the verdict was {sent - claims['at']:.3f} s old when the request was sent"
    return None


def _wrong_refusal(token: Token, now: float, head: dict) -> str | None:
    if now < token.until - GRANULARITY:
        return f"refused, though it is active: {head.get('error')}"
    if 'error="invalid_token"' not in head.get("www-authenticate", ""):
        return "refused without a challenge"
    return None


class _Client(asyncio.Protocol):
    """One connection after the other, one request at a time."""

    def __init__(self, load: Load):
        self.load = load
        self.transport = None
        self.token: Token | None = None
        self.worker: int | None = None
        self.connected = self.sent = 0.0
        self.buffer = b""

    def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self.connected = time.time()
        # The address and its port stay the same.
        task = loop.create_connection(lambda: self, "127.0.0.1", self.load.gateway.port)
        self.task = loop.create_task(task)

    def is_waiting(self) -> bool:
        return self.token is not None

    def has_begun(self) -> bool:
        """Whether part of an answer is there."""
        return bool(self.buffer)

    def connection_made(self, transport) -> None:
        self.transport, self.worker, self.buffer = transport, None, b""
        self._send()

    def _send(self) -> None:
        if not self.load.running:
            return
        self.token = self.load.tokens.next()
        self.sent = time.time()
        self.transport.write(
            b"GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer %s\r\n\r\n"
            % self.token.text.encode()
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        status_line, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in fields}
        length = int(headers.get("content-length", 0))
        if len(body) < length:
            return
        if self.token is None or len(body) > length:
            self.load.fail(self.token, "more bytes than one answer has")
        self.buffer = b""
        self.worker = int(headers.get("worker", 0)) or self.worker
        token, self.token = self.token, None
        if token is not None:
            status = int(status_line.split(" ", 2)[1])
            self.load.check(token, self.sent, status, headers, body.decode("latin-1"))
        if headers.get("connection") != "close":
            self._send()

    def connection_lost(self, _) -> None:
        if self.token is not None:
            self.load.closed(self)
            self.token = None
        if self.load.running:
            self.connect()

    def give_up(self) -> None:
        self.token = None
        self.transport.abort()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

"""The authorization server: a process of its own, that answers as the tokens say, and counts."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import re
import time
from collections import Counter

import population

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKEN = re.compile(rb"(?:^|&)token=([^&]*)")
_INACTIVE = b'{"active":false}'


class Outage:
    """When the server answers nothing but 503: `length` seconds of each `period` from `start` on."""

    def __init__(self, start: float, period: float, length: float):
        self.start, self.period, self.length = start, period, length

    def covers(self, begin: float, end: float, after: float = 0.0) -> bool:
        """Whether any instant from `begin` to `end` is in an outage, or at most `after` behind it."""
        if not self.length or end < self.start:
            return False
        since_the_last = (end - self.start) % self.period
        return since_the_last - (end - begin) < self.length + after


NEVER = Outage(0, 1, 0)


class AuthorizationServer:
    """Listens on loopback, from when it is made until `stop`, or until this process ends."""

    def __init__(self, delay: tuple[float, float], slow: float, outage: Outage = NEVER):
        """How long answers take, from … to, and how long those about slow tokens, in seconds."""
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        serve = _Server(theirs, self._ours, delay, slow, outage).run
        self._process = context.Process(target=serve, daemon=True)
        self._process.start()
        theirs.close()
        self.address = self._ours.recv()

    def figures(self) -> dict:
        self._ours.send("figures")
        return self._ours.recv()

    def questions(self) -> Counter:
        """How often each token was asked about."""
        self._ours.send("questions")
        return self._ours.recv()

    def stop(self) -> None:
        self._ours.close()
        self._process.join()


class _Server:
    def __init__(self, control, not_ours, delay, slow, outage):
        self.control, self.not_ours = control, not_ours
        self.delay, self.slow, self.outage = delay, slow, outage
        self.questions: Counter = Counter()
        self.in_flight: Counter = Counter()
        self.total = self.now_in_flight = self.most_in_flight = 0
        self.cut_off = self.together = self.most_together = self.unavailable = 0

    def run(self) -> None:
        self.not_ours.close()
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self.chance = random.Random(0)
        self.over = loop.create_future()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=4096)
        host, port = server.sockets[0].getsockname()
        self.control.send(f"{host}:{port}")
        loop.add_reader(self.control.fileno(), self._command)
        await self.over

    def _command(self) -> None:
        try:
            command = self.control.recv()
        except EOFError:
            asyncio.get_running_loop().remove_reader(self.control.fileno())
            self.over.set_result(None)
            return
        if command == "questions":
            self.control.send(self.questions)
            return
        self.control.send({
            "questions": self.total,
            "tokens": len(self.questions),
            "in_flight": self.now_in_flight,
            "most_in_flight": self.most_in_flight,
            "cut_off": self.cut_off,
            "together": self.together,
            "most_together": self.most_together,
            "unavailable": self.unavailable,
        })

    def begin(self, token: bytes) -> tuple[float, bytes]:
        """Notes a question; says how long the answer takes, and what it is."""
        now = time.time()
        self.total += 1
        self.questions[token] += 1
        self.now_in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.now_in_flight)
        self.in_flight[token] += 1
        if self.in_flight[token] > 1:
            self.together += 1
            self.most_together = max(self.most_together, self.in_flight[token])
        if self.outage.covers(now, now):
            self.unavailable += 1
            return 0.0, _response(b"503 Service Unavailable", b"text/plain", b"")
        known = population.parse(token.decode())
        if now >= known.until:
            answer = _response(b"200 OK", b"application/json", _INACTIVE)
        else:
            jwt = population.jwt(known, now).encode()
            answer = _response(b"200 OK", b"application/jwt", jwt)
        slow = known.kind == population.SLOW
        return self.slow if slow else self.chance.uniform(*self.delay), answer

    def end(self, token: bytes) -> None:
        self.now_in_flight -= 1
        self.in_flight[token] -= 1
        if not self.in_flight[token]:
            del self.in_flight[token]


class _Connection(asyncio.Protocol):
    def __init__(self, server: _Server):
        self.server = server
        self.buffer = b""
        self.token = self.timer = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(_LENGTH.search(head)[1])
        if len(body) < length:
            return
        self.buffer = body[length:]
        self.token = _TOKEN.search(body[:length])[1]
        delay, answer = self.server.begin(self.token)
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(delay, self._answer, answer)

    def _answer(self, answer: bytes) -> None:
        self.server.end(self.token)
        self.token = None
        self.transport.write(answer)

    def connection_lost(self, _) -> None:
        if self.token is not None:
            self.timer.cancel()
            self.server.end(self.token)
            self.server.cut_off += 1


def _response(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body

"""Requests one after the other over one connection, for what is looked at after a load."""

from __future__ import annotations

import socket
from itertools import islice
from typing import NamedTuple

from servers import Failure

TIMEOUT = 20


class Response(NamedTuple):
    status: int
    cache_status: str
    body: str

    def __str__(self) -> str:
        return f"{self.status} {self.cache_status}"


def request(path: str, token: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


def ask(port: int, path: str, tokens, at_once: int = 1):
    """The responses, in the order of the tokens."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as answers:
            remaining = iter(tokens)
            while batch := list(islice(remaining, at_once)):
                connection.sendall(b"".join(request(path, token) for token in batch))
                for _ in batch:
                    yield _response(answers)


def _response(answers) -> Response:
    status_line = answers.readline()
    if not status_line.startswith(b"HTTP/1.1 "):
        raise Failure(f"no response but {status_line[:80]!r}")
    headers = {}
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = answers.read(int(headers.get("content-length", 0))).decode("latin-1")
    return Response(int(status_line.split()[1]), headers.get("cache-status", ""), body)

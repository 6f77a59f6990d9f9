"""A client that sends exactly the requests that it is told to."""

from __future__ import annotations

import socket
from itertools import islice

from servers import Failure

TIMEOUT = 60


def request(token: str | None, path: str = "/") -> bytes:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: api.example\r\n{authorization}\r\n".encode()


def send(port: int, tokens, in_flight: int = 1) -> None:
    """One request per token over one connection, `in_flight` at a time; each has to be answered 200."""
    with _connect(port) as connection, connection.makefile("rb") as answers:
        remaining = iter(tokens)
        while batch := [request(token) for token in islice(remaining, in_flight)]:
            connection.sendall(b"".join(batch))
            for _ in batch:
                _answer(answers)


def worker_pid(port: int) -> int:
    with _connect(port) as connection, connection.makefile("rb") as answers:
        connection.sendall(request(None, "/worker"))
        return int(_answer(answers))


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _answer(answers) -> bytes:
    status = answers.readline()
    if status != b"HTTP/1.1 200 OK\r\n":
        raise Failure(f"a request was answered with '{status.decode(errors='replace').strip()}'")
    length = 0
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return answers.read(length)

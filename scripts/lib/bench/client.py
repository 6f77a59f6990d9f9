"""A client that sends exactly the requests that it is told to."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import islice

import tokens
from servers import Failure, Nginx

TIMEOUT = 60
# What clients call the API.
URL = "http://api.example/"


def request(index: int) -> bytes:
    """A request with the token of that number, which its query string tells the API."""
    path, token = f"/?{tokens.digits(index)}", tokens.token(index)
    return _request(path, f"Authorization: Bearer {token}\r\n")


def send(gateway: Nginx, indices: Iterable[int], in_flight: int = 1) -> None:
    """One request per token over one connection, `in_flight` at a time; each has to be answered
    200."""
    with connect(gateway) as connection, connection.makefile("rb") as answers:
        remaining = iter(indices)
        while batch := [request(index) for index in islice(remaining, in_flight)]:
            connection.sendall(b"".join(batch))
            for _ in batch:
                _answer(answers)
            gateway.answered += len(batch)


def worker_pid(gateway: Nginx) -> int:
    with connect(gateway) as connection:
        return worker_of(connection)


def worker_of(connection: socket.socket) -> int:
    """The pid of the worker that has the connection."""
    connection.sendall(_request("/worker"))
    with connection.makefile("rb") as answers:
        return int(_answer(answers))


def connect(gateway: Nginx) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket, index: int) -> None:
    """One request over a connection that is kept; the answer has to be 200."""
    connection.sendall(request(index))
    with connection.makefile("rb") as answers:
        _answer(answers)


def status_of(gateway: Nginx, path: str, header: str) -> int:
    """What one request with that header is answered with."""
    with connect(gateway) as connection, connection.makefile("rb") as answers:
        connection.sendall(_request(path, header))
        return int(answers.readline().split()[1])


def check_status(status: bytes) -> None:
    if status == b"HTTP/1.1 200 OK":
        return
    if status == b"HTTP/1.1 403 Forbidden":
        raise Failure("the API got another JWT than that of the request's token")
    raise Failure(f"a request was answered with '{status.decode(errors='replace')}'")


def _request(path: str, header: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: api.example\r\n{header}\r\n".encode()


def _answer(answers) -> bytes:
    check_status(answers.readline().strip())
    length = 0
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return answers.read(length)

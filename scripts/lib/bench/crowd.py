"""Many clients at once, each with a connection of its own that is kept."""

from __future__ import annotations

import selectors
import time
from collections import Counter

import client
from servers import Failure, Nginx


class Crowd:
    def __init__(self, gateway: Nginx, size: int):
        self._gateway = gateway
        self._connections = [client.connect(gateway) for _ in range(size)]
        # How many connections each worker has.
        self.workers = Counter(map(client.worker_of, self._connections))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self._connections:
            connection.close()

    def ask(self, indices: list[int]) -> float:
        """One request per connection, with a token each, as fast as they can be sent. Milliseconds
        from the first request to the last answer."""
        requests = [client.request(index) for index in indices]
        with selectors.EpollSelector() as selector:
            for connection in self._connections:
                selector.register(connection, selectors.EVENT_READ, bytearray())
            begin = time.monotonic()
            for connection, request in zip(self._connections, requests, strict=True):
                connection.sendall(request)
            waiting = len(requests)
            while waiting:
                ready = selector.select(client.TIMEOUT)
                if not ready:
                    raise Failure(f"{waiting} requests were not answered in {client.TIMEOUT} s")
                waiting -= sum(_is_answered(key.fileobj, key.data) for key, _ in ready)
            took = time.monotonic() - begin
        self._gateway.answered += len(requests)
        return took * 1000


def _is_answered(connection, answer: bytearray) -> bool:
    """Reads on. The API's answer to all requests is the two bytes `ok`."""
    part = connection.recv(4096)
    answer += part
    if not part:
        raise Failure("a connection was closed instead of a request answered")
    head, end, body = bytes(answer).partition(b"\r\n\r\n")
    if not end:
        return False
    client.check_status(head.partition(b"\r\n")[0])
    return body == b"ok"

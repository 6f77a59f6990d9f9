"""How often the authorization server is asked when many bring the same unknown token at once."""

from __future__ import annotations

import asyncio
import time

import client
import tokens
from servers import Failure
from testbed import Testbed

_REQUESTS = 500
_DELAY = 0.05


def measure(testbed: Testbed) -> dict:
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict:
    server = _AuthorizationServer(testbed.jwt)
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        gateway = testbed.translating(authorization_server=f"{host}:{port}")
        connections = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(_REQUESTS))
        )
        begin = time.monotonic()
        answers = asyncio.gather(*(_request(*connection) for connection in connections))
        await asyncio.wait_for(answers, client.TIMEOUT)
        took = time.monotonic() - begin
    return {
        "requests": _REQUESTS,
        "questions": server.questions,
        "delay_ms": _DELAY * 1000,
        "last_answer_ms": round(took * 1000, 1),
    }


class _AuthorizationServer:
    """Counts the questions, and answers each after a while."""

    def __init__(self, jwt: str):
        self.questions = 0
        self._answer = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\n"
            f"Content-Length: {len(jwt)}\r\nConnection: close\r\n\r\n{jwt}"
        ).encode()

    async def answer(self, reader, writer) -> None:
        self.questions += 1
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(_DELAY)
        writer.write(self._answer)
        await _close(writer)


async def _request(reader, writer) -> None:
    writer.write(client.request(tokens.token(0)))
    status = await reader.readline()
    if not status.startswith(b"HTTP/1.1 200 "):
        raise Failure(f"a request was answered with '{status.decode(errors='replace').strip()}'")
    await _close(writer)


async def _close(writer) -> None:
    await writer.drain()
    writer.close()

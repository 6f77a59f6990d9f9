"""An authorization server that finds every token active, after a while. A program of its own, so
that it keeps its time while the client is busy. Arguments: seconds that the first question about a
token takes, and those that further ones take, and a file that gets a line per question and one per
answer. Prints its address."""

from __future__ import annotations

import asyncio
import re
import sys

import tokens

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class _Server:
    def __init__(self, delay: float, delay_again: float, log):
        self._delay, self._delay_again, self._log = delay, delay_again, log
        self._known = set()

    async def answer(self, reader, writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_LENGTH.search(head)[1]))
                writer.write(await self._verdict(body.decode().removeprefix("token=")))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _verdict(self, token: str) -> bytes:
        print("asked", token, file=self._log, flush=True)
        delay = self._delay_again if token in self._known else self._delay
        self._known.add(token)
        await asyncio.sleep(delay)
        print("answered", token, file=self._log, flush=True)
        jwt = tokens.JWT_STEM + token
        head = f"Content-Type: application/jwt\r\nContent-Length: {len(jwt)}\r\n"
        return f"HTTP/1.1 200 OK\r\n{head}\r\n{jwt}".encode()


async def _serve(delay: str, delay_again: str, log: str) -> None:
    with open(log, "w") as file:
        server = _Server(float(delay), float(delay_again), file)
        async with await asyncio.start_server(
            server.answer, "127.0.0.1", 0, backlog=4096
        ) as listener:
            print("127.0.0.1:{1}".format(*listener.sockets[0].getsockname()), flush=True)
            await listener.serve_forever()


asyncio.run(_serve(*sys.argv[1:]))

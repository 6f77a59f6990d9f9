"""What every measurement needs: an upstream, and gateways before it that start when asked to."""

from __future__ import annotations

import contextlib
from pathlib import Path

import configuration
from servers import Failure, Nginx


class Testbed:
    """The upstream of one measurement, and the two kinds of gateways that are compared.

    At the end of the `with` block all of them are stopped, and the number of questions that reached
    the authorization server has to be the expected one, none unless said otherwise: else something
    else than hits, or than misses, was measured."""

    def __init__(self, run, folder: Path, single_process: bool, jwt: str | None):
        folder.mkdir()
        self.run, self.folder = run, folder
        self.single_process = single_process
        self._jwt = jwt
        self._translating = []
        self.expect_questions(0)

    def __enter__(self):
        self._running = contextlib.ExitStack()
        self.upstream = self._start("upstream", configuration.upstream(self._jwt), ())
        return self

    def __exit__(self, kind, *_):
        self._running.close()
        if kind is not None:
            return
        self.run.answered += self.answered()
        asked, (least, most) = self.questions(), self._expected
        if not least <= asked <= most:
            expected = f"{least}" if least == most else f"{least} to {most}"
            raise Failure(
                f"{asked} questions reached the authorization server, and not {expected}: it is not "
                "all hits, or not all misses, what was measured"
            )

    def expect_questions(self, least: int, most: int | None = None) -> None:
        self._expected = least, least if most is None else most

    def questions(self) -> int:
        """How many have reached the authorization server."""
        return (self.folder / "upstream" / "questions").read_text().count("\n")

    def answered(self) -> int:
        """How many requests with a token were answered."""
        return sum(gateway.answered for gateway in self._translating)

    def plain(self, name: str = "plain", under=(), **options) -> Nginx:
        text = configuration.plain(
            self.upstream.address, single_process=self.single_process, **options
        )
        return self._start(name, text, under)

    def translating(
        self, name: str = "translating", under=(), authorization_server=None, **options
    ) -> Nginx:
        text = configuration.translating(
            self.run.module,
            self.upstream.address,
            authorization_server or self.upstream.address,
            single_process=self.single_process,
            **options,
        )
        gateway = self._start(name, text, under)
        self._translating.append(gateway)
        return gateway

    def _start(self, name: str, text, under) -> Nginx:
        folder = self.folder / name
        folder.mkdir()
        nginx = Nginx(self.run.nginx, text, folder, under)
        self._running.callback(nginx.stop)
        return nginx

"""What every measurement needs: an upstream, and gateways before it that start when asked to."""

from __future__ import annotations

import contextlib
from pathlib import Path

import configuration
import tokens
from servers import Failure, Nginx


class Testbed:
    """The upstream of one measurement, and the two kinds of gateways that are compared.

    At the end of the `with` block all of them are stopped, and the number of questions that reached
    the authorization server has to be `self.expected_questions`: else hits were not what was
    measured."""

    def __init__(self, binary: str, module: str, folder: Path, single_process: bool = False):
        folder.mkdir()
        self.binary, self.module, self.folder = binary, module, folder
        self.single_process = single_process
        self.jwt = tokens.jwt()
        self.expected_questions = 0

    def __enter__(self):
        self._running = contextlib.ExitStack()
        self.upstream = self._start("upstream", configuration.upstream(self.jwt), ())
        return self

    def __exit__(self, kind, *_):
        self._running.close()
        if kind is None:
            asked = (self.folder / "upstream" / "questions").read_text().count("\n")
            if asked != self.expected_questions:
                raise Failure(
                    f"{asked} questions reached the authorization server, and not "
                    f"{self.expected_questions}: not all requests were hits"
                )

    def plain(self, name: str = "plain", under=()) -> Nginx:
        text = configuration.plain(
            self.jwt, self.upstream.address, single_process=self.single_process
        )
        return self._start(name, text, under)

    def translating(self, name: str = "hit", under=(), authorization_server=None) -> Nginx:
        text = configuration.translating(
            self.module,
            self.upstream.address,
            authorization_server or self.upstream.address,
            single_process=self.single_process,
        )
        return self._start(name, text, under)

    def _start(self, name: str, text, under) -> Nginx:
        folder = self.folder / name
        folder.mkdir()
        nginx = Nginx(self.binary, text, folder, under)
        self._running.callback(nginx.stop)
        return nginx

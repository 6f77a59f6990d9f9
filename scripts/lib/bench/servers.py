"""NGINX instances on loopback, started on free ports and stopped by their pid."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# However the benchmark ends, what it has started ends with it.
TIED_TO_US = ["setpriv", "--pdeathsig", "TERM"]

# Where the top of the heap happens to be near malloc's threshold, each request gives memory back to
# the kernel and takes it again, at 3 µs: chance, and more than what is to be seen.
STEADY_HEAP = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30)}

# What valgrind needs to load NGINX, and to write its profile, with room to spare.
TIME_TO_START = 30
TIME_TO_STOP = 30


class Failure(Exception):
    """A measurement that would not mean what it says; the text is for the user."""


class Nginx:
    """One NGINX, serving from the moment that it is made until `stop`."""

    def __init__(self, binary: str, configuration, folder: Path, under: list[str] = ()):
        """`configuration` makes the configuration's text for an address; `under` is the command of
        a tool that runs NGINX."""
        self.folder = folder
        # Requests with a token that a client has had answered well.
        self.answered = 0
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        (folder / "nginx.conf").write_text(configuration(self.address))
        with open(folder / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                [*TIED_TO_US, *under, binary]
                + ["-p", f"{folder}/", "-e", "error.log", "-c", "nginx.conf"],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env={**os.environ, **STEADY_HEAP},
            )
        try:
            self._wait_for_connections()
        except BaseException:
            self.stop()
            raise

    def _wait_for_connections(self) -> None:
        deadline = time.monotonic() + TIME_TO_START
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):
                self._connect()
                return
            time.sleep(0.01)
        raise Failure(f"NGINX does not listen on {self.address}")

    def _connect(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), TIME_TO_STOP).close()

    def stop(self) -> None:
        """Lets requests end, and what runs NGINX write its results."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGQUIT)
                # Without a master NGINX looks for the signal after an event; it may just have
                # looked.
                self._connect()
            try:
                self.process.wait(TIME_TO_STOP)
            except subprocess.TimeoutExpired:
                self.process.terminate()
                self.process.wait()
                raise Failure("NGINX does not stop when it is asked to") from None
        complaints = self._lines("error.log")
        if self.process.returncode != 0:
            complaints += [
                *self._lines("stderr"),
                f"it ended with status {self.process.returncode}",
            ]
        if complaints:
            raise Failure("\n".join(["NGINX is not content:", *complaints[-10:]]))

    def _lines(self, name: str) -> list[str]:
        file = self.folder / name
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return [line for line in lines if "[notice]" not in line]


class SlowServer:
    """An authorization server that takes its time: see slow_server.py."""

    def __init__(self, folder: Path, delay: float, delay_again: float):
        """`delay` for the first question about a token, `delay_again` for further ones, in
        seconds."""
        self._log = folder / "slow_server"
        script = Path(__file__).with_name("slow_server.py")
        self._process = subprocess.Popen(
            [*TIED_TO_US, sys.executable, "-B", str(script)]
            + [str(delay), str(delay_again), str(self._log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            self.stop()
            raise Failure("the slow authorization server does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()

    def asked(self) -> list[str]:
        """The tokens of all questions, in the order of their arrival."""
        return [token for what, token in self._events() if what == "asked"]

    def answered(self) -> list[str]:
        """The same of those that were answered."""
        return [token for what, token in self._events() if what == "answered"]

    def _events(self):
        # A line that is being written comes the next time.
        whole, _, _ = self._log.read_text().rpartition("\n")
        return (line.split() for line in whole.splitlines())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]

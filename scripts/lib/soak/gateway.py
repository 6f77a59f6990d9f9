"""The gateway: its workers, that are killed and replaced, and what its log may say of that."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

from servers import Failure, Nginx

_PATIENCE = 10
_KILLED = re.compile(r"\[alert\] \d+#\d+: worker process \d+ exited on signal 9")
_RECOVERY = re.compile(r"phantom_token: zone \"\w+\": .*: it was emptied, \d+ such events in all")


class Gateway(Nginx):
    """An NGINX whose workers are killed. `expected` are further lines that its log may have."""

    def __init__(self, binary: str, configuration, folder: Path, expected=()):
        self.killed: dict[int, float] = {}
        self.reloads: list[float] = []
        self._expected = (_KILLED, _RECOVERY, *map(re.compile, expected))
        folder.mkdir()
        super().__init__(binary, configuration, folder)

    def workers(self) -> list[int]:
        """Those that run, also those that are on their way out after a reload."""
        master = self.process.pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [int(pid) for pid in children if _is_running(int(pid))]

    def kill_one(self, chance: random.Random) -> None:
        workers = self.workers()
        if workers:
            victim = chance.choice(workers)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.killed[victim] = time.time()

    def reload(self, configuration) -> None:
        (self.folder / "nginx.conf").write_text(configuration(self.address))
        self.reloads.append(time.time())
        os.kill(self.process.pid, signal.SIGHUP)

    def wait_for_workers(self, count: int) -> None:
        """Returns when that many run, and no others."""
        deadline = time.monotonic() + _PATIENCE
        while len(self.workers()) != count:
            if time.monotonic() > deadline:
                raise Failure(f"there are not {count} workers: {self.workers()}")
            time.sleep(0.01)

    def recoveries(self) -> int:
        return len(_RECOVERY.findall(self._log()))

    def kills_seen(self) -> int:
        """Not those that a worker has forestalled by its end."""
        return len(_KILLED.findall(self._log()))

    def remarks(self) -> Counter:
        """What the log has at warn and above, without what tells one line from another."""
        lines = re.findall(r"\[(?!notice|info)\w+\] \d+#\d+: .*", self._log())
        varying = r" \d+#\d+:(?: \*\d+)?|, (?:location|endpoint|upstream) .*|, client: .*| \d+"
        return Counter(re.sub(varying, "", line) for line in lines)

    def _log(self) -> str:
        return (self.folder / "error.log").read_text(errors="replace")

    def _lines(self, name: str) -> list[str]:
        lines = super()._lines(name)
        return [line for line in lines if not any(known.search(line) for known in self._expected)]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

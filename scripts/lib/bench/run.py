"""One run of scripts/bench: with what, and how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed import Testbed


@dataclass
class Run:
    """`nginx`, `module` and `core` are paths: of NGINX, of the module, of the core's benchmark.
    `quick` is to show that the benchmarks work, whatever the figures."""

    nginx: str
    module: str
    core: str | None
    folder: Path
    quick: bool
    # Answers that came by way of the module, each with the right JWT.
    answered: int = 0

    def testbed(self, name: str, single_process: bool = False) -> Testbed:
        return Testbed(self, self.folder / name, single_process)

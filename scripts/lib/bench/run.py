"""One run of scripts/bench: with what, and how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed import Testbed


@dataclass
class Run:
    """`nginx`, `module`, `core` and `signer` are paths: of NGINX, of the module, of the core's
    benchmark, of what signs. `quick` is to show that the benchmarks work, whatever the figures."""

    nginx: str
    module: str
    core: str | None
    signer: str | None
    folder: Path
    quick: bool
    # Answers that came by way of the module, each with the right JWT.
    answered: int = 0

    def testbed(
        self, name: str, single_process: bool = False, jwt: str | None = None
    ) -> Testbed:
        """`jwt` is that of all tokens, where they have none of their own."""
        return Testbed(self, self.folder / name, single_process, jwt)

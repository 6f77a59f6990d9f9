"""What the signer of the core's examples gives: a JWT that verifies, and DPoP proofs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tokens
from run import Run
from servers import TIED_TO_US, Failure


def signed_jwt(run: Run, keys: Path) -> str:
    """A JWT of 1,200 bytes; `keys` becomes the JWK set that it is verified by."""
    command = [run.signer, "token", tokens.compact(tokens.claims())]
    done = subprocess.run(
        [*TIED_TO_US, *command], stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=False
    )
    if done.returncode != 0:
        raise Failure("the signer does not sign")
    jwt, jwks = done.stdout.split()
    keys.write_text(jwks)
    return jwt


class Prover:
    """A client with a key, and proofs by it for GET of one URL with one token."""

    def __init__(self, run: Run, url: str, token: str):
        self._process = subprocess.Popen(
            [*TIED_TO_US, run.signer, "proofs", url, token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # By which its tokens are bound to it.
        self.thumbprint = self._answer()

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def prove(self, count: int, file: Path) -> None:
        """Writes so many new proofs, a line each, which are good for a minute."""
        self._process.stdin.write(f"{count} {file}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        if not (line := self._process.stdout.readline()):
            raise Failure("the signer makes no proofs")
        return line.strip()

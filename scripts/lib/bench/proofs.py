"""CPU time of the worker per request with a DPoP proof. Each request is of the same client, whose
token is in the cache, and has a new proof, signed with ES256 before."""

from __future__ import annotations

from pathlib import Path

import client
import tokens
from figures import Result, rate, ratio
from load import cpu_per_request_of, one_processor, wrk
from run import Run
from servers import Failure, Nginx
from signer import Prover

# Per second and core, the whole request included.
_LEAST = 5_000
# More than a second of load can use.
_COUNT = 50_000
_SCRIPT = Path(__file__).with_name("proofs.lua")


def measure(run: Run) -> Result:
    rounds = 1 if run.quick else 15
    plain_used, proof_used = [], []
    with one_processor(), Prover(run, client.URL, tokens.token(0)) as prover:
        bound = tokens.unsigned(tokens.claims(cnf={"jkt": prover.thumbprint}))
        with run.testbed("proofs", jwt=bound) as testbed:
            for number in range(rounds):
                plain = testbed.plain(f"plain-{number}")
                checking = testbed.translating(f"proofs-{number}")
                # The first of a pair changes, so that a drift favours neither.
                measurements = [(plain, plain_used), (checking, proof_used)]
                if number % 2:
                    measurements.reverse()
                if not run.quick:
                    for gateway, _ in measurements:
                        _send(gateway, _prove(gateway, prover))
                for gateway, used in measurements:
                    file = _prove(gateway, prover)
                    used.append(cpu_per_request_of(gateway, lambda: _send(gateway, file)))
                _check_counts_once(checking, prover)
                plain.stop()
                checking.stop()
            testbed.expect_questions(rounds)
    return Result(
        [
            ratio("CPU per request with a proof", "µs", plain_used, proof_used, decimals=2),
            rate("DPoP proofs checked per core", plain_used, proof_used, least=_LEAST),
        ]
    )


def _prove(gateway: Nginx, prover: Prover, count: int = _COUNT) -> Path:
    file = gateway.folder / "proofs"
    prover.prove(count, file)
    return file


def _send(gateway: Nginx, file: Path) -> int:
    """A second of requests, each with the next proof. Plain `proxy_pass` may get to the end of them,
    and begins again; the module would refuse what it has seen."""
    return wrk(gateway, _SCRIPT, [tokens.token(0), tokens.digits(0), file])


def _check_counts_once(gateway: Nginx, prover: Prover) -> None:
    """A proof that counts twice is one that nobody has looked at."""
    proof = _prove(gateway, prover, 1).read_text().strip()
    header = f"Authorization: DPoP {tokens.token(0)}\r\nDPoP: {proof}\r\n"
    answers = [client.status_of(gateway, f"/?{tokens.digits(0)}", header) for _ in range(2)]
    if answers != [200, 401]:
        raise Failure(f"a proof that is used twice is answered with {answers}, not with 200 and 401")

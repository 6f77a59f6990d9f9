"""The tokens: each says in its name what the authorization server thinks of it, and until when."""

from __future__ import annotations

import base64
import json
import random
from typing import NamedTuple

# The JWT has about this many bytes.
JWT_LENGTH = 1200

STEADY = "steady"  # active
SLOW = "slow"  # the same, and the server takes long to say so
ENDING = "ending"  # active until its `exp`
REVOKED = "revoked"  # active until then, though its `exp` is later
INACTIVE = "inactive"
KINDS = (STEADY, SLOW, ENDING, REVOKED, INACTIVE)


class Token(NamedTuple):
    text: str
    kind: str
    # Seconds since the epoch; infinite: for as long as this runs.
    until: float


def token(kind: str, number: int, until: float | None = None) -> Token:
    end = f"{until:.0f}" if until is not None else "0"
    text = f"{kind}_{number}_{end}_".ljust(43, "0")
    return parse(text)


def parse(text: str) -> Token:
    kind, _, end, _ = text.split("_", 3)
    if kind == INACTIVE:
        return Token(text, kind, 0.0)
    return Token(text, kind, float(end) if end != "0" else float("inf"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HEADER = _base64url(b'{"alg":"RS256","kid":"soak","typ":"at+jwt"}')
_SIGNATURE = _base64url(random.Random(0).randbytes(256))


def jwt(of: Token, now: float) -> str:
    """`at` is when the server was asked, to the millisecond."""
    life = of.until if of.kind == ENDING else now + 3600
    claims = {"iss": "https://issuer.example", "sub": of.text, "exp": int(life), "at": now}
    room = (JWT_LENGTH - len(_HEADER) - len(_SIGNATURE) - 2) * 3 // 4
    claims["pad"] = "a" * max(room - len(json.dumps(claims)) - 12, 0)
    return f"{_HEADER}.{_base64url(json.dumps(claims).encode())}.{_SIGNATURE}"


def claims(of: str) -> dict:
    payload = of.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

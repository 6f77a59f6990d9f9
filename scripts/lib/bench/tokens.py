"""The opaque tokens and the JWTs that they stand for."""

import base64
import json
import random

# The digits that tell one token from another.
DIGITS = 7
ALL = 10**DIGITS


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_LENGTH = 43
_JWT_LENGTH = 1200
# Always the same, as are the JWTs: what they cost is to be the same in every run.
START = _base64url(random.Random(0).randbytes(32))[: _LENGTH - DIGITS]


def digits(index: int) -> str:
    return f"{index:0{DIGITS}d}"


def token(index: int) -> str:
    """As long as 256 bits in base64url."""
    return START + digits(index)


def jwt(index: int) -> str:
    return JWT_STEM + token(index)


def _jwt_stem() -> str:
    """The beginning of JWTs that end with the token: of 1,200 bytes, and valid until 2100. Nobody
    here looks at their signature."""
    header = _base64url(b'{"alg":"RS256","kid":"benchmark","typ":"at+jwt"}')
    signature = _base64url(random.Random(0).randbytes(256))
    room = _JWT_LENGTH - len(header) - len(signature) - 2
    claims = {"iss": "https://issuer.example", "sub": "benchmark", "exp": 4102444800, "scope": ""}
    missing = room * 3 // 4 - len(json.dumps(claims, separators=(",", ":")))
    claims["scope"] = "a" * missing
    made = f"{header}.{_base64url(json.dumps(claims, separators=(',', ':')).encode())}.{signature}"
    if len(made) != _JWT_LENGTH:
        raise ValueError(f"no JWT with these parts has {_JWT_LENGTH} bytes")
    return made[:-_LENGTH]


JWT_STEM = _jwt_stem()

"""The opaque tokens and the JWT that they stand for."""

import base64
import json
import random


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


LENGTH = 43
_DIGITS = 7
# Always the same, as is the JWT: what they cost is to be the same in every run. tokens.lua makes the
# same tokens from this.
START = _base64url(random.Random(0).randbytes(32))[: LENGTH - _DIGITS]


def token(index: int) -> str:
    """As long as 256 bits in base64url; the last digits tell one token from another."""
    return f"{START}{index:0{_DIGITS}d}"


def tokens(count: int):
    return (token(index) for index in range(count))


def jwt(length: int = 1200) -> str:
    """A JWT of exactly that many bytes, valid until 2100; nobody here looks at its signature."""
    header = _base64url(b'{"alg":"RS256","kid":"benchmark","typ":"at+jwt"}')
    signature = _base64url(random.Random(0).randbytes(256))
    room = length - len(header) - len(signature) - 2
    claims = {"iss": "https://issuer.example", "sub": "benchmark", "exp": 4102444800, "scope": ""}
    missing = room * 3 // 4 - len(json.dumps(claims, separators=(",", ":")))
    claims["scope"] = "a" * missing
    made = f"{header}.{_base64url(json.dumps(claims, separators=(',', ':')).encode())}.{signature}"
    if len(made) != length:
        raise ValueError(f"no JWT with these parts has {length} bytes")
    return made

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


def claims(**more) -> dict:
    """Those of an access token (RFC 9068), valid until 2100, and more; as many bytes as a JWT of
    1,200 bytes has room for."""
    found = {
        "iss": "https://issuer.example",
        "aud": "https://api.example",
        "sub": "8c7a9a5e-3d1f-4a77-9a0e-0f6f2f6f3f0b",
        "client_id": "benchmark",
        "jti": "e1a6ef6e-5f0a-4f0e-8d0c-5b1c7d1b8a52",
        "iat": 1767225600,
        "exp": 4102444800,
        "scope": "openid orders.read orders.write",
        "groups": [f"/departments/number-{number:02}" for number in range(8)],
        "name": "",
        **more,
    }
    room = _JWT_LENGTH - len(_HEADER) - len(_SIGNATURE) - 2
    found["name"] = "n" * (room * 3 // 4 - len(compact(found)))
    return found


def unsigned(payload: dict) -> str:
    """A JWT at whose signature nobody looks."""
    made = f"{_HEADER}.{_encoded(payload)}.{_SIGNATURE}"
    if len(made) != _JWT_LENGTH:
        raise ValueError(f"no JWT with these parts has {_JWT_LENGTH} bytes")
    return made


def _encoded(part: dict) -> str:
    return _base64url(compact(part).encode())


def compact(part: dict) -> str:
    return json.dumps(part, separators=(",", ":"))


_HEADER = _encoded({"alg": "RS256", "kid": "benchmark", "typ": "at+jwt"})
_SIGNATURE = _base64url(random.Random(0).randbytes(256))
# The beginning of JWTs that end with the token.
JWT_STEM = unsigned(claims())[:-_LENGTH]

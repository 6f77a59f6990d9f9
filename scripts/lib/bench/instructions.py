"""User-space instructions per request, counted by valgrind's callgrind."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import client
import tokens

# The part of the hash by the names of its functions.
HASH = "blake3"

_VALGRIND = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]
_RUST_SUFFIX = re.compile(r"::h[0-9a-f]{16}$")


def per_request(start, counts: tuple[int, int], folder: Path) -> Counter:
    """Instructions per request and function: what the second run of a gateway takes more than the
    first, which has all that does not recur: start, first question, end.

    `start` starts the gateway that is measured, in a folder and under a command."""
    few, many = (_profile(start, count, folder / str(count)) for count in counts)
    many.subtract(few)
    return Counter({name: n / (counts[1] - counts[0]) for name, n in many.items()})


def _profile(start, count: int, folder: Path) -> Counter:
    file = folder / "callgrind.out"
    folder.mkdir()
    gateway = start(folder, under=[*_VALGRIND, f"--callgrind-out-file={file}"])
    try:
        client.send(gateway.port, (tokens.token(0) for _ in range(count)))
    finally:
        gateway.stop()
    return _functions(file)


def _functions(file: Path) -> Counter:
    """Each function's own instructions. Lines after `calls=` say what the called ones took."""
    functions = Counter()
    library = function = ""
    of_callee = False
    with open(file, errors="replace") as lines:
        for line in lines:
            if line.startswith("ob="):
                library = Path(line[3:].strip()).name
            elif line.startswith("fn="):
                function = _RUST_SUFFIX.sub("", re.sub(r"'\d+$", "", line[3:].strip()))
                if function.startswith(("???", "0x")):
                    function = f"({library}, no symbol)"
            elif line.startswith("calls="):
                of_callee = True
            elif line[0].isdigit():
                if not of_callee:
                    functions[function] += int(line.split()[1])
                of_callee = False
    return functions

"""User-space instructions per request, counted by valgrind's callgrind.

What a gateway takes for many requests less what it takes for few is free of all that does not recur:
its start, its end, the first question."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import client
import tokens
from figures import Figure, difference
from testbed import Testbed

REPETITIONS = 2
# How far repetitions may differ for the figure to be worth its digits.
REPEATABLE = 0.002

# Parts that are shown apart, by the names of functions. What malloc does depends on what happens to
# lie in the heap: it may differ between two configurations though both call it equally often.
_PARTS = {
    "of these in the hash": re.compile(r"blake3"),
    "of these in glibc's malloc": re.compile(
        r"^(malloc\w*|calloc|free|posix_memalign|_mid_memalign|_int_\w+|unlink_chunk|sysmalloc)\b"
    ),
}

_VALGRIND = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]
_RUST_SUFFIX = re.compile(r"::h[0-9a-f]{16}$")
_RECURSION = re.compile(r"'\d+$")


def measure(testbed: Testbed, quick: bool) -> tuple[list[Figure], list[str], dict]:
    """The figures, notes on them, and per function the instructions of (plain, hit)."""
    counts = (500, 2500) if quick else (2000, 12000)
    plain, hit = [], []
    for repetition in range(REPETITIONS):
        for start, into in ((testbed.plain, plain), (testbed.translating, hit)):
            few, many = (
                _profile(start, f"{start.__name__}-{count}-{repetition}", testbed.folder, count)
                for count in counts
            )
            many.subtract(few)
            each = {name: n / (counts[1] - counts[0]) for name, n in many.items()}
            into.append(Counter(each))
    testbed.expected_questions = 2 * REPETITIONS

    figures = [_figure("instructions", plain, hit, re.compile(""))]
    figures += [_figure(name, plain, hit, part) for name, part in _PARTS.items()]
    return figures, [_repeatability(plain, hit)], _functions_compared(plain[0], hit[0])


def _profile(start, name: str, folder: Path, count: int) -> Counter:
    file = folder / f"{name}.callgrind"
    gateway = start(name, under=[*_VALGRIND, f"--callgrind-out-file={file}"])
    client.send(gateway.port, (tokens.token(0) for _ in range(count)))
    gateway.stop()
    return _functions(file)


def _functions(file: Path) -> Counter:
    """Each function's own instructions. A line after `calls=` is what the called one took."""
    functions = Counter()
    library = function = ""
    of_callee = False
    with open(file, errors="replace") as lines:
        for line in lines:
            if line.startswith("ob="):
                library = Path(line[3:].strip()).name
            elif line.startswith("fn="):
                function = _RUST_SUFFIX.sub("", _RECURSION.sub("", line[3:].strip()))
                if function.startswith(("???", "0x")):
                    function = f"({library}, without a symbol)"
            elif line.startswith("calls="):
                of_callee = True
            elif line[0].isdigit():
                if not of_callee:
                    functions[function] += int(line.split()[1])
                of_callee = False
    return functions


def _figure(name: str, plain: list[Counter], hit: list[Counter], part: re.Pattern) -> Figure:
    def count(run: Counter) -> float:
        return sum(n for function, n in run.items() if part.search(function))

    return difference(
        name, "instructions", [count(run) for run in plain], [count(run) for run in hit]
    )


def _repeatability(plain: list[Counter], hit: list[Counter]) -> str:
    spread = max(
        max(totals) / min(totals) - 1
        for totals in ([sum(run.values()) for run in runs] for runs in (plain, hit))
    )
    verdict = "" if spread <= REPEATABLE else f", more than {REPEATABLE:.1%}: run it again"
    return f"instructions repeated to {spread:.3%}{verdict}"


def _functions_compared(plain: Counter, hit: Counter) -> dict[str, tuple[float, float]]:
    by_difference = sorted({*plain, *hit}, key=lambda name: -abs(hit[name] - plain[name]))
    return {name: (plain[name], hit[name]) for name in by_difference if hit[name] or plain[name]}

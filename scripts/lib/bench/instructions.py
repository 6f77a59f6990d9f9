"""User-space instructions per request, counted by valgrind's callgrind.

What a gateway takes for many requests less what it takes for few is free of all that does not
recur: its start, its end, the first question."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path

import client
from figures import Figure, Result, difference
from run import Run
from servers import Failure
from signer import signed_jwt

REPETITIONS = 2
# How far repetitions may differ for the figure to be worth its digits.
REPEATABLE = 0.002

# At most so many more than plain `proxy_pass`, for a hit, the hash apart.
_TARGET = 1_500

# At most so many more for a hit of a JWT that was verified, in a location with these rules, malloc
# apart.
_TARGET_WITH_RULES = 300
_RULES = """
            phantom_token_jwks file={keys};
            phantom_token_issuer https://issuer.example;
            phantom_token_audience https://api.example;
            phantom_token_require_scope orders.read orders.write;
            phantom_token_require_audience https://api.example;
"""

_HASH = re.compile(r"blake3")
# What malloc does depends on what happens to lie in the heap: it may differ between two
# configurations though both call it equally often.
_MALLOC = re.compile(
    r"^(malloc\w*|calloc|free|posix_memalign|_mid_memalign|_int_\w+|unlink_chunk|sysmalloc)\b"
)

_VALGRIND = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]
_RUST_SUFFIX = re.compile(r"::h[0-9a-f]{16}$")
_RECURSION = re.compile(r"'\d+$")


def measure(run: Run) -> Result:
    counts = (100, 400) if run.quick else (2000, 12000)
    repetitions = 1 if run.quick else REPETITIONS
    plain, hit, miss = [], [], []
    with run.testbed("instructions", single_process=True) as testbed:
        same, new = [0] * counts[1], range(counts[1])
        for repetition in range(repetitions):
            for name, start, indices, into in (
                ("plain", testbed.plain, same, plain),
                ("hit", testbed.translating, same, hit),
                ("miss", testbed.translating, new, miss),
            ):
                few, many = (
                    _profile(start, f"{name}-{count}-{repetition}", testbed.folder, indices[:count])
                    for count in counts
                )
                many.subtract(few)
                each = {name: n / (counts[1] - counts[0]) for name, n in many.items()}
                into.append(Counter(each))
        testbed.expect_questions(repetitions * (2 + sum(counts)))

    figures = [
        _difference("instructions per hit", plain, hit),
        _difference("of these in glibc's malloc", plain, hit, _is_in(_MALLOC)),
        _difference("of these in the hash", plain, hit, _is_in(_HASH)),
        _difference("all but the hash", plain, hit, _is_not_in(_HASH), target=_TARGET),
        _difference("instructions per miss", plain, miss),
        _difference("of these in glibc's malloc", plain, miss, _is_in(_MALLOC)),
    ]
    bare, ruled = _with_rules(run, counts, repetitions)
    # The keys that were read when it started have left other gaps in the heap.
    figures += [
        _difference("per hit with keys and rules, above one without", bare, ruled),
        _difference("of these in glibc's malloc", bare, ruled, _is_in(_MALLOC)),
        _difference(
            "with keys and rules, all but malloc",
            bare,
            ruled,
            _is_not_in(_MALLOC),
            target=_TARGET_WITH_RULES,
        ),
    ]
    notes = [] if run.quick else [_repeatability(plain, hit, miss, bare, ruled)]
    return Result(figures, notes, _functions_compared(plain[0], hit[0], miss[0]))


def _with_rules(run: Run, counts, repetitions: int) -> tuple[list[Counter], list[Counter]]:
    """Hits of one and the same JWT, without and with what it is verified by and has to meet."""
    keys = run.folder / "keys.jwks"
    jwt = signed_jwt(run, keys)
    without, ruled = [], []
    with run.testbed("instructions-with-rules", single_process=True, jwt=jwt) as testbed:
        for repetition in range(repetitions):
            for name, directives, into in (
                ("without", "", without),
                ("with", _RULES.format(keys=keys), ruled),
            ):
                start = partial(testbed.translating, directives=directives)
                few, many = (
                    _profile(start, f"{name}-{count}-{repetition}", testbed.folder, [0] * count)
                    for count in counts
                )
                many.subtract(few)
                into.append(
                    Counter({name: n / (counts[1] - counts[0]) for name, n in many.items()})
                )
        testbed.expect_questions(repetitions * 4)
    return without, ruled


def _profile(start, name: str, folder: Path, indices) -> Counter:
    file = folder / f"{name}.callgrind"
    gateway = start(name, under=[*_VALGRIND, f"--callgrind-out-file={file}"])
    client.send(gateway, indices)
    gateway.stop()
    functions = _functions(file)
    if not functions:
        raise Failure(f"no instructions were counted in {file}: is it another format?")
    return functions


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


def _is_in(part: re.Pattern):
    return part.search


def _is_not_in(part: re.Pattern):
    return lambda function: not part.search(function)


def _difference(
    name: str, plain: list[Counter], other: list[Counter], counts=lambda function: True, **options
) -> Figure:
    def count(run: Counter) -> float:
        return sum(n for function, n in run.items() if counts(function))

    return difference(
        name,
        "instructions",
        [count(run) for run in plain],
        [count(run) for run in other],
        **options,
    )


def _repeatability(*kinds: list[Counter]) -> str:
    totals = ([sum(run.values()) for run in runs] for runs in kinds)
    spread = max(max(total) / min(total) - 1 for total in totals)
    verdict = "" if spread <= REPEATABLE else f", more than {REPEATABLE:.1%}: run it again"
    return f"instructions repeated to {spread:.3%}{verdict}"


def _functions_compared(*kinds: Counter) -> dict[str, tuple[float, ...]]:
    names = sorted(set().union(*kinds))
    return {
        name: tuple(kind[name] for kind in kinds) for name in names if any(k[name] for k in kinds)
    }

"""scripts/bench's second half: measures, and prints each figure beside its reference and its
target."""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import coalescing
import cpu
import figures
import instructions
import look_up
import memory
import misses
import proofs
import refresh
import system_calls
from run import Run
from servers import Failure

BENCHMARKS = {
    "instructions": instructions,
    "system-calls": system_calls,
    "cpu": cpu,
    "misses": misses,
    "proofs": proofs,
    "memory": memory,
    "look-up": look_up,
    "coalescing": coalescing,
    "refresh": refresh,
}
SHOWN_FUNCTIONS = 15


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(300 if options.quick else 1500)
    # Clients are as many connections here, and twice as many in the worker.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with tempfile.TemporaryDirectory(prefix="phantom-token-bench-") as folder:
            result = _measure(options, Path(folder))
    except (Failure, OSError) as failure:
        print(f"scripts/bench: {failure}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _measure(options, folder: Path) -> dict:
    result = {"processor": _processor(), "nginx": _nginx_version(options.nginx)}
    print(f"processor  {result['processor']}\nNGINX      {result['nginx']}\n", flush=True)

    run = Run(
        options.nginx, options.module, options.core, options.signer, folder, options.quick
    )
    found, notes, functions = [], [], {}
    for name in options.names or BENCHMARKS:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        part = BENCHMARKS[name].measure(run)
        found += part.figures
        notes += part.notes
        functions |= part.functions
    if run.answered:
        # Any other is a failure at once.
        wrong = f"wrong JWTs in {run.answered:,} responses"
        found.append(figures.value(wrong, "", 0, target=0))
    result["figures"] = figures.as_json(found)
    kinds = ("plain", "hit", "miss")
    result["functions"] = {name: dict(zip(kinds, counts)) for name, counts in functions.items()}

    if options.quick:
        notes.append("quickly: it shows that the benchmarks work, and times mean nothing")
    blocks = [figures.table(found, judge_times=not options.quick), "\n".join(notes)]
    if functions:
        blocks += [_function_table(functions, kinds.index(kind), kind) for kind in ("hit", "miss")]
    print("\n\n".join(filter(None, blocks)))
    return result


def _function_table(functions: dict, column: int, kind: str) -> str:
    compared = [(name, counts[0], counts[column]) for name, counts in functions.items()]
    compared.sort(key=lambda row: -abs(row[2] - row[1]))
    rows = [[f"where the instructions of a {kind} differ most", "plain", kind, "difference"]]
    for name, plain, other in compared[:SHOWN_FUNCTIONS]:
        rows.append([name, f"{plain:,.0f}", f"{other:,.0f}", f"{other - plain:+,.0f}"])
    return figures.aligned(rows, left=1)


def _options():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--nginx", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--core")
    parser.add_argument("--signer")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHMARKS, []])
    return parser.parse_args()


def _processor() -> str:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


def _nginx_version(binary: str) -> str:
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stderr
    if not said.startswith("nginx version: "):
        raise Failure(f"{binary} does not say its version as NGINX does (nginx -v)")
    return said.strip().removeprefix("nginx version: ")


def _too_long(*_):
    raise Failure("it takes too long on this machine; try --quick, or one benchmark alone")


sys.exit(main())

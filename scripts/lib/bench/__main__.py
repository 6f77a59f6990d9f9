"""scripts/bench's second half: measures, and prints what a hit costs beside plain `proxy_pass`."""

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
import system_calls
from servers import Failure
from testbed import Testbed

MEASUREMENTS = ("instructions", "cpu", "system-calls", "coalescing")
SHOWN_FUNCTIONS = 15


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(180 if options.quick else 720)
    # 500 clients are as many connections here, and twice as many in the worker.
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

    def testbed(name: str, single_process: bool = False) -> Testbed:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        return Testbed(options.nginx, options.module, folder / name, single_process)

    found, notes, functions = [], [], {}
    if "instructions" in options.only:
        with testbed("instructions", single_process=True) as bed:
            found, notes, functions = instructions.measure(bed, options.quick)
    if "cpu" in options.only:
        with cpu.one_processor(), testbed("cpu") as bed:
            found += cpu.measure(bed, options.quick)
    if "system-calls" in options.only:
        with testbed("system-calls", single_process=True) as bed:
            found += system_calls.measure(bed)
    result["figures"] = figures.as_json(found)
    result["functions"] = {name: dict(zip(("plain", "hit"), n)) for name, n in functions.items()}
    if "coalescing" in options.only:
        with testbed("coalescing") as bed:
            result["coalescing"] = coalescing.measure(bed)
            notes.append(
                "{requests} requests at once with one unknown token: {questions} question(s), the last "
                "answer after {last_answer_ms:.0f} ms, of which the server's delay is "
                "{delay_ms:.0f} ms".format(**result["coalescing"])
            )

    blocks = [figures.table(found) if found else "", "\n".join(notes)]
    blocks.append(_function_table(functions) if functions else "")
    print("\n\n".join(filter(None, blocks)))
    return result


def _function_table(functions: dict) -> str:
    rows = [["where the instructions differ most", "plain", "hit", "difference"]]
    for name, (plain, hit) in list(functions.items())[:SHOWN_FUNCTIONS]:
        rows.append([name, f"{plain:,.0f}", f"{hit:,.0f}", f"{hit - plain:+,.0f}"])
    return figures.aligned(rows, left=1)


def _options():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--nginx", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", action="append", choices=MEASUREMENTS)
    options = parser.parse_args()
    options.only = options.only or MEASUREMENTS
    return options


def _processor() -> str:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


def _nginx_version(binary: str) -> str:
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stderr
    if not said.startswith("nginx version: "):
        raise Failure(f"{binary} does not say its version as NGINX does (nginx -v)")
    return said.strip().removeprefix("nginx version: ")


def _too_long(*_):
    raise Failure("it takes too long on this machine; try --quick or one measurement with --only")


sys.exit(main())

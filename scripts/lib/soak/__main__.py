"""scripts/soak's second half: lets workers die under load, and junk flow, and says what was seen."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from pathlib import Path

# NGINX on loopback is started and stopped as for the benchmark.
sys.path.append(str(Path(__file__).resolve().parent.parent / "bench"))

import junk
import kills
from servers import Failure


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with tempfile.TemporaryDirectory(prefix="phantom-token-soak-") as folder:
            # Workers run without privileges and have to reach their files.
            Path(folder).chmod(0o755)
            problems = _soak(options, Path(folder))
            if problems:
                raise Failure("\n".join(problems))
    except (Failure, OSError) as failure:
        print(f"scripts/soak: {failure}", file=sys.stderr)
        return 1
    return 0


def _soak(options, folder: Path) -> list[str]:
    problems = []
    if options.kills:
        seen, problems = kills.run(
            options.nginx, options.module, folder / "kills", options.kills, options.seconds
        )
        _print("workers killed under load", seen)
    if options.junk:
        seen = junk.run(options.nginx, options.module, folder / "junk", options.junk)
        _print("a flood of junk", seen)
    return problems


def _print(title: str, figures: dict) -> None:
    print(title)
    for name, value in figures.items():
        if isinstance(value, dict):
            text = "; ".join(f"{key.replace('_', ' ')} {n:,}" for key, n in value.items()) or "none"
        else:
            text = f"{value:,}"
        print(f"  {name.replace('_', ' '):<18} {text}")
    sys.stdout.flush()


def _options():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--nginx", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--junk", type=int, required=True)
    return parser.parse_args()


sys.exit(main())

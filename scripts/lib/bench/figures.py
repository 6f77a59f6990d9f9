"""What is measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import random
import statistics
from dataclasses import asdict, dataclass, field

# Units of what depends on how fast and how idle the machine is.
_TIMES = ("ns", "µs", "ms", "per second")


@dataclass
class Figure:
    """`measured` stands beside `reference`, if there is one, in `unit`. `compared` is their
    difference or their ratio, with what it may be as well: from `low` to `high`; or the measured
    itself. It is to be `target` at most, or `least` at least."""

    name: str
    unit: str
    reference: float | None
    measured: float
    kind: str
    compared: float
    low: float | None = None
    high: float | None = None
    decimals: int = 0
    target: float | None = None
    least: float | None = None

    def row(self, judge_times: bool) -> list[str]:
        reference = "" if self.reference is None else f"{self.reference:,.{self.decimals}f}"
        measured = f"{self.measured:,.{self.decimals}f}"
        compared = "" if self.kind == "value" else self._text(self.compared)
        between = "" if self.low is None else f"{self._text(self.low)} to {self._text(self.high)}"
        target = "" if self.target is None else self._text(self.target)
        if self.least is not None:
            target = f"at least {self._text(self.least)}"
        judged = target and (judge_times or self.unit not in _TIMES)
        verdict = ("missed", "met")[self.is_met()] if judged else ""
        return [self.name, self.unit, reference, measured, compared, between, target, verdict]

    def is_met(self) -> bool:
        """To as many digits as are shown."""
        digits = 3 if self.kind == "ratio" else self.decimals
        compared = round(self.compared, digits)
        return (self.target is None or compared <= self.target) and (
            self.least is None or compared >= self.least
        )

    def _text(self, value: float) -> str:
        if self.kind == "ratio":
            return f"x {value:.3f}"
        # No minus before a zero.
        sign = "+" * (self.kind == "difference")
        return f"{round(value, self.decimals) + 0.0:{sign},.{self.decimals}f}"


@dataclass
class Result:
    """What a benchmark has found. `functions` has, for each, the instructions per request of plain
    `proxy_pass`, of a hit and of a miss."""

    figures: list[Figure]
    notes: list[str] = field(default_factory=list)
    functions: dict[str, tuple[float, float, float]] = field(default_factory=dict)


def value(name: str, unit: str, measured: float, **options) -> Figure:
    return Figure(name, unit, None, measured, "value", measured, **options)


def rate(name: str, reference: list[float], measured: list[float], **options) -> Figure:
    """How many of them a second has, of microseconds that noise has met: the medians, and the
    interval of 95 % of what was measured."""
    per_second = [[1_000_000 / each for each in times] for times in (reference, measured)]
    one, other = map(statistics.median, per_second)
    low, high = _interval_of_median(per_second[1])
    return Figure(name, "per second", one, other, "value", other, low, high, **options)


def difference(name: str, unit: str, reference: list[float], measured: list[float], **options):
    """Of repeated counts, which agree almost: the medians, and the extremes."""
    one, other = statistics.median(reference), statistics.median(measured)
    low, high = min(measured) - max(reference), max(measured) - min(reference)
    return Figure(name, unit, one, other, "difference", other - one, low, high, **options)


def paired_difference(
    name: str, unit: str, reference: list[float], measured: list[float], **options
) -> Figure:
    """Of pairs of runs that noise has met: the median of their differences, with its interval of
    95 %."""
    return _of_pairs(name, unit, reference, measured, "difference", options)


def ratio(name: str, unit: str, reference: list[float], measured: list[float], **options) -> Figure:
    """The same, with their ratios."""
    return _of_pairs(name, unit, reference, measured, "ratio", options)


def _of_pairs(name, unit, reference, measured, kind, options) -> Figure:
    compare = {"ratio": lambda a, b: b / a, "difference": lambda a, b: b - a}[kind]
    compared = [compare(a, b) for a, b in zip(reference, measured)]
    low, high = _interval_of_median(compared)
    medians = statistics.median(reference), statistics.median(measured)
    return Figure(name, unit, *medians, kind, statistics.median(compared), low, high, **options)


def _interval_of_median(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """By bootstrap, the same for the same values."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(draws * 0.025)], medians[int(draws * 0.975)]


def table(figures: list[Figure], judge_times: bool) -> str:
    rows = [["", "unit", "reference", "measured", "compared", "from … to", "target", ""]]
    rows += [figure.row(judge_times) for figure in figures]
    return aligned(rows, left=2)


def aligned(rows: list[list[str]], left: int) -> str:
    """Columns; the first `left` of them begin where the others end."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )


def as_json(figures: list[Figure]) -> list[dict]:
    return [{k: v for k, v in asdict(figure).items() if k != "decimals"} for figure in figures]

"""What is measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import random
import statistics
from dataclasses import asdict, dataclass


@dataclass
class Figure:
    """`plain` and `hit` are per request, in `unit`. `compared` is their difference or their ratio, with
    what it may be as well: from `low` to `high`."""

    name: str
    unit: str
    plain: float
    hit: float
    kind: str
    compared: float
    low: float
    high: float
    decimals: int = 0

    def row(self) -> list[str]:
        values = [f"{value:,.{self.decimals}f}" for value in (self.plain, self.hit)]
        return [self.name, self.unit, *values, self._text(self.compared), self._interval()]

    def _text(self, value: float) -> str:
        if self.kind == "ratio":
            return f"x {value:.3f}"
        # No minus before a zero.
        return f"{round(value, self.decimals) + 0.0:+,.{self.decimals}f}"

    def _interval(self) -> str:
        return f"{self._text(self.low)} to {self._text(self.high)}"


def difference(name: str, unit: str, plain: list[float], hit: list[float], decimals: int = 0):
    """Of repeated counts, which agree almost: the medians, and the extremes."""
    one, other = statistics.median(plain), statistics.median(hit)
    low, high = min(hit) - max(plain), max(hit) - min(plain)
    return Figure(name, unit, one, other, "difference", other - one, low, high, decimals)


def ratio(name: str, unit: str, plain: list[float], hit: list[float], decimals: int = 0) -> Figure:
    """Of pairs of runs that noise has met: the median of their ratios, with its interval of 95 %."""
    ratios = [b / a for a, b in zip(plain, hit)]
    low, high = _interval_of_median(ratios)
    medians = statistics.median(plain), statistics.median(hit)
    return Figure(name, unit, *medians, "ratio", statistics.median(ratios), low, high, decimals)


def _interval_of_median(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """By bootstrap, the same for the same values."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(draws * 0.025)], medians[int(draws * 0.975)]


def table(figures: list[Figure]) -> str:
    rows = [["per request", "unit", "plain", "hit", "compared", "from … to"]]
    rows += [figure.row() for figure in figures]
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

"""What painted views say of two ways to train: means with intervals, paired differences, in all and by baseline.

A scene is what was drawn at random: its views, and what several trainings made of them, are averaged first. How much
trainings differ is told apart, by the difference that each pair of them with one seed shows.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.experiments.painted_views import PaintedView
from eval.tables.statistics import Interval, mean_interval, paired_difference

FIGURES = {
    "psnr": "PSNR of the view",
    "in_holes": "in holes",
    "in_known": "where known",
    "put_back": "known pixels put back",
}
FIRST, SECOND = "forward_backward", "forward"
BASELINES = ((0.0, 0.15), (0.15, 0.3), (0.3, math.inf))
_ALL = "all"


@dataclass(frozen=True)
class Comparison:
    """Of one situation and range of baselines, by one figure. methods: means over scenes; difference: the first method
    less the second, paired over scenes; of_trainings: the mean of that difference by the seed of the training, over
    which `between_trainings` is the interval."""

    situation: str
    baselines: str
    figure: str
    methods: Mapping[str, Interval]
    difference: Interval | None
    of_trainings: Mapping[int, float]
    between_trainings: Interval | None

    @property
    def apart(self) -> bool:
        """Whether the two methods' own intervals do not overlap."""
        first, second = self.methods.get(FIRST), self.methods.get(SECOND)
        if first is None or second is None or not (first.known and second.known):
            return False
        return first.low > second.high or second.low > first.high


def compare(rows: Sequence[PaintedView]) -> list[Comparison]:
    """Every situation, every range of baselines with views in it, every figure."""
    found = []
    for situation in dict.fromkeys(row.situation for row in rows):
        there = [row for row in rows if row.situation == situation]
        for name, within in _ranges().items():
            chosen = [row for row in there if within(row.baseline)]
            found += [_comparison(situation, name, figure, chosen) for figure in FIGURES if chosen]
    return found


def as_markdown(comparisons: Sequence[Comparison]) -> str:
    """A table for each situation: ranges of baselines and figures down, methods and their difference across."""
    parts = []
    for situation in dict.fromkeys(each.situation for each in comparisons):
        those = [each for each in comparisons if each.situation == situation]
        methods = list(dict.fromkeys(method for each in those for method in each.methods))
        head = ["baseline", "figure", *methods, f"{FIRST} less {SECOND}", "of each training"]
        lines = [f"**{situation}**", "", _row(head), _row(["---"] * len(head))]
        for each in those:
            cells = [_cell(each.methods.get(method)) for method in methods]
            trainings = ", ".join(f"{value:+.2f}" for value in each.of_trainings.values())
            difference = _cell(each.difference, "+") + (" **apart**" if each.apart else "")
            lines.append(_row([each.baselines, FIGURES[each.figure], *cells, difference, trainings]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """By situation, range of baselines and figure."""
    told: dict[str, Any] = {}
    for each in comparisons:
        told.setdefault(each.situation, {}).setdefault(each.baselines, {})[each.figure] = {
            "methods": {method: _plain(interval) for method, interval in each.methods.items()},
            "difference": _plain(each.difference),
            "of_trainings": {str(seed): round(value, 4) for seed, value in each.of_trainings.items()},
            "between_trainings": _plain(each.between_trainings),
            "intervals_apart": each.apart,
        }
    return told


def _comparison(situation: str, baselines: str, figure: str, rows: Sequence[PaintedView]) -> Comparison:
    by_method = {
        method: _by_scene(row for row in rows if row.method == method)
        for method in dict.fromkeys(row.method for row in rows)
    }
    scenes = {method: _means(of, figure) for method, of in by_method.items()}
    differences = {}
    for seed in sorted({row.trained for row in rows if row.method in (FIRST, SECOND)}):
        one = [
            _means(_by_scene(row for row in rows if (row.method, row.trained) == (m, seed)), figure)
            for m in (FIRST, SECOND)
        ]
        paired = paired_difference(*one)
        if paired is not None:
            differences[seed] = paired.mean
    return Comparison(
        situation,
        baselines,
        figure,
        {method: mean_interval(values.values()) for method, values in scenes.items() if values},
        paired_difference(scenes.get(FIRST, {}), scenes.get(SECOND, {})),
        differences,
        mean_interval(differences.values()) if differences else None,
    )


def _by_scene(rows: Iterable[PaintedView]) -> dict[str, list[PaintedView]]:
    found: dict[str, list[PaintedView]] = {}
    for row in rows:
        found.setdefault(row.scene, []).append(row)
    return found


def _means(scenes: Mapping[str, Sequence[PaintedView]], figure: str) -> dict[str, float]:
    """Of each scene; without views that have no such part."""
    means = {}
    for scene, rows in scenes.items():
        values = [value for row in rows if not math.isnan(value := getattr(row, figure))]
        if values:
            means[scene] = math.fsum(values) / len(values)
    return means


def _ranges() -> dict[str, Callable[[float], bool]]:
    def of(low: float, high: float) -> Callable[[float], bool]:
        return lambda baseline: low <= baseline < high

    named = {
        f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and more": of(low, high) for low, high in BASELINES
    }
    return {_ALL: of(0.0, math.inf), **named}


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return ""
    half = f" ± {interval.half_width:.2f}" if interval.known else ""
    return f"{interval.mean:{sign}.2f}{half} ({interval.count})"


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    values = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in values.items()} | {
        "count": interval.count
    }

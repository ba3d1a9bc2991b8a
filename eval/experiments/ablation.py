"""What an ablation over strengths found: at each strength a table, and the differences that a claim is about.

Made of stored scores alone; distortion_ablation.py makes them, ablation_pictures.py draws what is found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from eval.metrics.base import Better
from eval.scoring.completeness import compare_views
from eval.scoring.scores import Score
from eval.tables.build import Table, build
from eval.tables.formats import markdown
from eval.tables.settings import Column, TableSettings
from eval.tables.statistics import Interval, mean_interval, paired_difference

COMPARISONS = (("distortion", "none"), ("both", "bilateral"))
"""Pairs of methods, of which the first has what the second lacks."""

Verdict = Literal["better", "worse", "within chance", "unknown"]


@dataclass(frozen=True)
class Difference:
    """Of two methods by one metric, image by image. verdict: on the first one."""

    interval: Interval
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Strength:
    """warp_px: root mean square of the planted warps; table: methods by metrics; own_lines: the lines of its footer
    that are about this strength; truth: {metric: of the true views}; differences: {pair: {metric: of its methods}}."""

    warp_px: float
    table: Table
    own_lines: tuple[str, ...]
    truth: Mapping[str, Interval]
    differences: Mapping[tuple[str, str], Mapping[str, Difference]]


def verdict(difference: Interval, better: Better) -> Verdict:
    """What a paired difference says of its first method: only an interval without zero in it says anything."""
    if not difference.known:
        return "unknown"
    if difference.low <= 0 <= difference.high:
        return "within chance"
    return "better" if (difference.mean > 0) == (better == "higher") else "worse"


def assess(
    settings: TableSettings,
    warp_px: float,
    rows: Sequence[Score],
    truths: Sequence[Score],
    evaluation: Mapping[str, Any],
) -> Strength:
    """rows: scores of all methods at that strength; truths: those of the true views, as of one method more."""
    by_metric = {metric: compared.values for metric, compared in compare_views(rows).items()}
    differences = {pair: _differences(settings, by_metric, *pair) for pair in COMPARISONS}
    truth = {
        metric: mean_interval(images.values())
        for metric, compared in compare_views(truths).items()
        for images in compared.values.values()
        if images and metric in settings.columns
    }
    title = f"{settings.title}: views warped by {warp_px:g} px"
    table = build(replace(settings, title=title, baseline=None), rows, evaluation)
    own_lines = (
        *(_difference_line(pair, found, settings) for pair, found in differences.items() if found),
        *_truth_lines(truth, settings.columns),
    )
    return Strength(
        warp_px=warp_px,
        table=replace(table, name=f"{settings.name}_{warp_px:g}px", footer=(*own_lines, *table.footer)),
        own_lines=own_lines,
        truth=truth,
        differences={pair: found for pair, found in differences.items() if found},
    )


def as_markdown(strengths: Sequence[Strength]) -> str:
    """A table for each strength; what all of them would repeat stands below the last one alone."""
    tables = [strength.table for strength in strengths]
    shared = set.intersection(*(set(table.footer) for table in tables)).difference(*(s.own_lines for s in strengths))
    short = [replace(table, footer=tuple(line for line in table.footer if line not in shared)) for table in tables[:-1]]
    return "\n".join(markdown(table) for table in (*short, tables[-1]))


def as_json(strengths: Sequence[Strength]) -> dict[str, Any]:
    """All means, intervals and differences by strength; null where there is none, or where it is infinite."""
    return {
        f"{strength.warp_px:g}": {
            "methods": {
                row.method: {
                    metric: _plain(cell.ours)
                    for metric, cell in zip(strength.table.columns, row.cells, strict=True)
                    if cell.ours is not None
                }
                for row in strength.table.rows
            },
            "true_views": {metric: _plain(interval) for metric, interval in strength.truth.items()},
            "differences": {
                f"{first} - {second}": {
                    metric: _plain(difference.interval) | {"verdict": difference.verdict}
                    for metric, difference in found.items()
                }
                for (first, second), found in strength.differences.items()
            },
        }
        for strength in strengths
    }


def _differences(
    settings: TableSettings, by_metric: Mapping[str, Mapping[str, Mapping[str, float]]], first: str, second: str
) -> dict[str, Difference]:
    found = {}
    for metric, column in settings.columns.items():
        methods = by_metric.get(metric, {})
        interval = paired_difference(methods.get(first, {}), methods.get(second, {}))
        if interval is not None:
            found[metric] = Difference(interval, verdict(interval, column.better))
    return found


def _difference_line(pair: tuple[str, str], found: Mapping[str, Difference], settings: TableSettings) -> str:
    """One line: each metric's difference, its interval and its verdict."""
    parts = []
    for metric, difference in found.items():
        column, interval = settings.columns[metric], difference.interval
        mean, low, high = (f"{value:+.{column.digits}f}" for value in (interval.mean, interval.low, interval.high))
        bounds = f" [{low}, {high}]" if interval.known else ""
        parts.append(f"{column.label} {mean}{bounds} {difference.verdict}")
    first, second = (settings.rows[method].label if method in settings.rows else method for method in pair)
    counts = sorted({difference.interval.count for difference in found.values()})
    over = f"{'-'.join(map(str, counts))} image{'s' * (counts != [1])}"
    return f"{first} minus {second}, paired over {over}: {'; '.join(parts)}."


def _truth_lines(truth: Mapping[str, Interval], columns: Mapping[str, Column]) -> list[str]:
    parts = [f"{c.label} {truth[metric].mean:.{c.digits}f}" for metric, c in columns.items() if metric in truth]
    return [f"The true views themselves: {', '.join(parts)}."] if parts else []


def _plain(interval: Interval) -> dict[str, Any]:
    values = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    finite = {name: round(value, 6) if math.isfinite(value) else None for name, value in values.items()}
    return finite | {"count": interval.count}

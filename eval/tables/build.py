"""Tables: the paper's figures beside what was measured. conf/table/*.yaml say what stands where, stored scores fill it.

table = build(settings, read_scores(folder), read_evaluation(folder))
print(render(table, "markdown"))                                        # eval/tables/formats.py
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.protocols.methods import UNKNOWN
from eval.scoring.completeness import Compared, compare_views
from eval.scoring.scores import Score, set_scores
from eval.scoring.set_metrics import same_sets
from eval.tables.footer import Found, footer_lines
from eval.tables.settings import Column, TableSettings, settings_of
from eval.tables.statistics import Difference, Interval, SetScore, mean_interval, paired_difference
from worldgen.errors import expect


@dataclass(frozen=True)
class Cell:
    """paper: its figure; ours: mean and interval over images, as measured here; None where there is none. best: of
    those measured; complete: False where the method lost views, and so has no rank."""

    paper: float | None
    ours: Interval | None
    best: bool = False
    complete: bool = True


@dataclass(frozen=True)
class TableRow:
    """One method: its cells in the order of the table's columns."""

    method: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """columns: by metric, in the order of each row's cells; footer: what a reader must know, a line each; short: those
    of its lines that a paper has room for; lost: {method: how many views it lost}."""

    name: str
    title: str
    columns: Mapping[str, Column]
    rows: tuple[TableRow, ...]
    footer: tuple[str, ...]
    interval: str
    short: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)

    def has_paper(self, place: int) -> bool:
        """Whether the paper has a figure in a column."""
        return any(row.cells[place].paper is not None for row in self.rows)

    def figures(self) -> dict[str, dict[str, Interval]]:
        """{method: {metric: what its cell shows}}, without empty cells."""
        return {
            row.method: {
                metric: cell.ours for metric, cell in zip(self.columns, row.cells, strict=True) if cell.ours is not None
            }
            for row in self.rows
        }


def build(
    table_config: TableSettings | Mapping[str, Any],
    rows: Sequence[Score],
    evaluation: Mapping[str, Any],
    baseline: str | None = None,
    allow_missing: bool = False,
) -> Table:
    """A table of stored scores; with neither scores nor evaluation, of the paper's figures alone.

    Methods are compared over the images of which all of those that have scores have the same views. A method that lost
    a view is not ranked; allow_missing: it is, over the views that all have. A method that the settings do not name is
    added below. baseline: instead of the settings'. Raises UserError for settings that make no table.
    """
    settings = table_config if isinstance(table_config, TableSettings) else settings_of(table_config)
    compared = compare_views((row for row in rows if row.metric in settings.columns), allow_missing)
    sets = _sets(settings, rows, evaluation, allow_missing)
    listed = {method for method in evaluation.get("methods", {}) if method != UNKNOWN} | {row.method for row in rows}
    labels = {method: row.label for method, row in settings.rows.items()}
    labels |= {method: method for method in sorted(listed - set(labels))}
    expect("baseline", baseline, baseline is None or baseline in labels, f"one of {', '.join(labels)}")
    columns = [_column(settings, metric, list(labels), compared, sets) for metric in settings.columns]
    differences = _differences(settings, baseline or settings.baseline, list(labels), compared)
    found = Found(labels, compared, sets, allow_missing, differences)
    lines = list(footer_lines(settings, found, evaluation))
    return Table(
        settings.name,
        settings.title,
        settings.columns,
        tuple(
            TableRow(method, label, tuple(column[place] for column in columns))
            for place, (method, label) in enumerate(labels.items())
        ),
        tuple(line.text for line in lines),
        settings.interval,
        tuple(line.text for line in lines if line.short),
        differences,
        {method: len(views) for method, views in found.lost().items()},
    )


def _column(
    settings: TableSettings,
    metric: str,
    methods: Sequence[str],
    compared: Mapping[str, Compared],
    sets: Mapping[str, Mapping[str, "SetScore"]],
) -> list[Cell]:
    """One metric's cells, method by method. Means that are printed alike are equally good."""
    column = settings.columns[metric]
    singles, whole = compared.get(metric, Compared()), sets.get(metric, {})
    ours = {method: found.interval for method, found in whole.items()}
    ours |= {method: mean_interval(images.values()) for method, images in singles.paired().items() if images}
    ranked = {method for method, found in whole.items() if found.ranked} | singles.ranked
    pick = min if column.better == "lower" else max
    means = {method: round(interval.mean, column.digits) for method, interval in ours.items() if method in ranked}
    best = pick(means.values()) if len(means) > 1 else None
    return [
        Cell(
            settings.rows[method].paper.get(metric) if method in settings.rows else None,
            ours.get(method),
            best is not None and means.get(method) == best,
            method not in singles.lost and (method not in whole or whole[method].complete),
        )
        for method in methods
    ]


def _sets(
    settings: TableSettings, rows: Sequence[Score], evaluation: Mapping[str, Any], allow_missing: bool
) -> dict[str, dict[str, SetScore]]:
    """{metric: {method: its distance}} of the settings' columns; the count is that of the views."""
    found: dict[str, dict[str, SetScore]] = {}
    for metric, values in set_scores(rows).items():
        if metric not in settings.columns:
            continue
        methods = evaluation.get("methods", {})
        records = {method: methods.get(method, {}).get("sets", {}).get(metric, {}) for method in values}
        alike = same_sets(records)
        found[metric] = {
            method: SetScore(
                Interval(value, float("nan"), float("nan"), records[method].get("views", 0)),
                records[method].get("complete", True),
                alike,
                alike and (allow_missing or records[method].get("complete", True)),
            )
            for method, value in values.items()
        }
    return found


def _differences(
    settings: TableSettings, baseline: str | None, methods: Sequence[str], compared: Mapping[str, Compared]
) -> tuple[Difference, ...]:
    """Every method minus the baseline, image by image, by each metric that both have."""
    found = []
    for method in methods:
        metrics: dict[str, Interval] = {}
        for metric in settings.columns:
            values = compared.get(metric, Compared()).paired()
            if method == baseline or method not in values or baseline not in values:
                continue
            difference = paired_difference(values[method], values[baseline])
            if difference is not None and not math.isnan(difference.mean):
                metrics[metric] = difference
        if metrics:
            found.append(Difference(method, str(baseline), metrics))
    return tuple(found)

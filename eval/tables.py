"""Tables: the paper's figures beside ours. conf/table/*.yaml say what stands where, stored scores fill it.

table = build(settings, read_scores(folder), read_evaluation(folder))
print(render(table, "markdown"))                                        # eval/table_formats.py
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eval.methods import UNKNOWN
from eval.metrics.base import Better
from eval.scores import Score, per_image, whole_set
from eval.statistics import Interval, common_images, mean_interval
from eval.table_footer import Sample, footer_lines
from worldgen.errors import UserError

Values = dict[str, dict[str, dict[str, float]]]
"""{metric: {method: {image: value}}}"""


@dataclass(frozen=True)
class Column:
    """One metric. label: as the heading has it; digits: after the point."""

    label: str
    better: Better
    digits: int = 2


@dataclass(frozen=True)
class Row:
    """One method. paper: the paper's figures, metric to value."""

    label: str
    paper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """A file of conf/table.

    name: of that file; source: where the paper's figures stand; protocol: name of the conf/protocol file that its
    scores are made by; scores: the folder of scores.csv; runs: the run folders that are scored where no methods are
    named, group_by: and the setting that tells them apart; columns: by metric; rows: by method, in order; baseline: the
    method that the others' paired differences are taken from; interval: how it is written.
    """

    name: str
    title: str
    source: str
    protocol: str
    scores: str
    columns: Mapping[str, Column]
    rows: Mapping[str, Row]
    runs: str | None = None
    group_by: str | None = None
    baseline: str | None = None
    interval: Literal["half_width", "bounds"] = "half_width"

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "columns", {name: _part(Column, "columns", name, c) for name, c in self.columns.items()}
        )
        object.__setattr__(self, "rows", {name: _part(Row, "rows", name, row) for name, row in self.rows.items()})
        _expect("columns", list(self.columns), bool(self.columns), "one metric at least")
        _expect("interval", self.interval, self.interval in ("half_width", "bounds"), "half_width or bounds")
        for name, column in self.columns.items():
            _expect(f"columns.{name}.better", column.better, column.better in ("lower", "higher"), "lower or higher")
        for name, row in self.rows.items():
            unknown = sorted(set(row.paper) - set(self.columns))
            _expect(f"rows.{name}.paper", unknown, not unknown, f"some of {', '.join(self.columns)}")
        _expect("baseline", self.baseline, self.baseline in (None, *self.rows), f"one of {', '.join(self.rows)}")


@dataclass(frozen=True)
class Cell:
    """paper: its figure; ours: mean and interval over images; None where there is none. best: of ours."""

    paper: float | None
    ours: Interval | None
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    method: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """columns: by metric, in the order of each row's cells; footer: what a reader must know, a line each."""

    name: str
    title: str
    columns: Mapping[str, Column]
    rows: tuple[TableRow, ...]
    footer: tuple[str, ...]
    interval: str

    def has_paper(self, place: int) -> bool:
        """Whether the paper has a figure in a column."""
        return any(row.cells[place].paper is not None for row in self.rows)


def build(
    table_config: TableSettings | Mapping[str, Any], rows: Sequence[Score], evaluation: Mapping[str, Any]
) -> Table:
    """A table of stored scores; with neither scores nor evaluation, of the paper's figures alone.

    Methods are compared over the images that all of those that have scores have in common. A method that the settings
    do not name is added below. Raises UserError for settings that make no table.
    """
    settings = table_config if isinstance(table_config, TableSettings) else _settings(table_config)
    found = per_image(row for row in rows if row.metric in settings.columns)
    sample = _sample(found, evaluation)
    values = {metric: _paired(methods, sample.common) for metric, methods in found.items()}
    wholes = whole_set(rows)
    listed = {method for method in evaluation.get("methods", {}) if method != UNKNOWN} | {row.method for row in rows}
    labels = {method: row.label for method, row in settings.rows.items()}
    labels |= {method: method for method in sorted(listed - set(labels))}
    columns = [_column(settings, metric, list(labels), values, wholes) for metric in settings.columns]
    return Table(
        settings.name,
        settings.title,
        settings.columns,
        tuple(
            TableRow(method, label, tuple(column[place] for column in columns))
            for place, (method, label) in enumerate(labels.items())
        ),
        tuple(footer_lines(settings, labels, values, wholes, sample, evaluation)),
        settings.interval,
    )


def _column(
    settings: TableSettings,
    metric: str,
    methods: Sequence[str],
    values: Values,
    wholes: Mapping[str, Mapping[str, float]],
) -> list[Cell]:
    """One metric's cells, method by method. Means that are printed alike are equally good."""
    column = settings.columns[metric]
    ours: dict[str, Interval] = {
        method: Interval(value, float("nan"), float("nan"), 0) for method, value in wholes.get(metric, {}).items()
    }
    ours |= {method: mean_interval(images.values()) for method, images in values.get(metric, {}).items() if images}
    pick = min if column.better == "lower" else max
    means = {method: round(interval.mean, column.digits) for method, interval in ours.items()}
    best = pick(means.values()) if len(means) > 1 else None
    return [
        Cell(
            settings.rows[method].paper.get(metric) if method in settings.rows else None,
            ours.get(method),
            best is not None and means.get(method) == best,
        )
        for method in methods
    ]


def _sample(found: Values, evaluation: Mapping[str, Any]) -> Sample:
    """The images of every method, and those of all."""
    scored: dict[str, set[str]] = {}
    for methods in found.values():
        for method, images in methods.items():
            scored.setdefault(method, set()).update(images)
    scored = {method: images for method, images in scored.items() if images}
    known = {image for images in scored.values() for image in images}
    for method in evaluation.get("methods", {}).values():
        known.update(method.get("images", []))
    return Sample(scored, common_images(scored.values()), sorted(known))


def _paired(methods: Mapping[str, Mapping[str, float]], common: Sequence[str]) -> dict[str, dict[str, float]]:
    """One metric's values over those common images of which every method that has it at all has a score."""
    with_scores = {method: images for method, images in methods.items() if images}
    shared = [image for image in common if all(image in images for images in with_scores.values())]
    return {method: {image: images[image] for image in shared} for method, images in with_scores.items()}


def _settings(config: Mapping[str, Any]) -> TableSettings:
    try:
        return TableSettings(**{key: value for key, value in config.items() if key != "_target_"})
    except TypeError as error:
        raise UserError(f"table: {str(error).partition(' ')[2]}") from error


def _part(kind: type, group: str, name: str, content: Any) -> Any:
    if isinstance(content, kind):
        return content
    try:
        return kind(**content)
    except TypeError as error:
        raise UserError(f"table.{group}.{name}: {str(error).partition(' ')[2]}") from error


def _expect(key: str, found: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise UserError(f"table.{key}={found}: wanted {wanted}")

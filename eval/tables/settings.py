"""What a table shows: its metrics, its methods in order, the paper's figures. conf/table/*.yaml, one file each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eval.metrics.base import Better
from worldgen.errors import UserError, expect


@dataclass(frozen=True)
class Column:
    """One metric. label: as the heading has it; digits: after the point; protocol: None = the table's."""

    label: str
    better: Better
    digits: int = 2
    protocol: str | None = None


@dataclass(frozen=True)
class Row:
    """One method. paper: the paper's figures, metric to value; given: it is other people's, who made its output."""

    label: str
    paper: Mapping[str, float] = field(default_factory=dict)
    given: bool = False


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """A file of conf/table.

    name: of that file; source: where the paper's figures stand; protocol: name of the conf/protocol file that its
    scores are made by; scores: the folder of scores.csv; runs: the run folders that are scored where no methods are
    named, group_by: and the setting that tells them apart; columns: by metric; rows: by method, in order; baseline: the
    method that the others' paired differences are taken from; interval: how it is written; paired: whether all rows
    are of the same images, and so can be compared.
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
    paired: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "columns", {name: _part(Column, "columns", name, c) for name, c in self.columns.items()}
        )
        object.__setattr__(self, "rows", {name: _part(Row, "rows", name, row) for name, row in self.rows.items()})
        expect("table.columns", list(self.columns), bool(self.columns), "one metric at least")
        expect("table.interval", self.interval, self.interval in ("half_width", "bounds"), "half_width or bounds")
        for name, column in self.columns.items():
            expect(
                f"table.columns.{name}.better", column.better, column.better in ("lower", "higher"), "lower or higher"
            )
        for name, row in self.rows.items():
            unknown = sorted(set(row.paper) - set(self.columns))
            expect(f"table.rows.{name}.paper", unknown, not unknown, f"some of {', '.join(self.columns)}")
        expect("table.baseline", self.baseline, self.baseline in (None, *self.rows), f"one of {', '.join(self.rows)}")


def settings_of(config: Mapping[str, Any]) -> TableSettings:
    """A table's settings from its config. Raises UserError for keys that it has not."""
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

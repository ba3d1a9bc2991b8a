"""A whole comparison: every run, the groups of them, and what a reader must know of both."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.compare.compared import ComparedRun
from eval.compare.group_means import Grouped, grouped
from eval.compare.group_table import group_markdown, group_rows, notes_of
from eval.compare.grouping import group_by
from eval.compare.run_notes import notes_on
from eval.compare.runs_table import best_first, directions, figures_by_run, table, written
from worldgen.errors import UserError

_KIND = "kind"


@dataclass(frozen=True)
class Comparison:
    """groups: None where nothing tells them apart; column: that they are sorted by."""

    runs: tuple[ComparedRun, ...]
    groups: Grouped | None = None
    column: str | None = None

    @property
    def notes(self) -> list[str]:
        """What must be said of runs and groups, a line each."""
        return [*notes_on(self.runs), *(notes_of(self.groups) if self.groups else [])]


def comparison(
    runs: Sequence[ComparedRun],
    by: Sequence[str] = (),
    baseline: str | None = None,
    sort: str | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """The runs, and their groups by the settings of `by`, both best first by the column `sort`.

    Several kinds of runs are never in one group. allow_missing: as for `grouped`. Raises UserError for settings, groups
    and columns that are not there.
    """
    figures, better = figures_by_run(runs), directions(runs)
    column = _column(sort, list(figures)) if sort else None
    ordered = best_first(runs, figures[column], better[column]) if column else list(runs)
    if not by:
        return Comparison(tuple(ordered), None, column)
    keys = [_KIND, *by] if len({run.kind for run in runs}) > 1 and _KIND not in by else list(by)
    found = grouped(group_by(runs, keys), keys, figures, better, baseline, allow_missing)
    return Comparison(tuple(ordered), found.ordered(column) if column else found, column)


def as_text(found: Comparison, form: str) -> str:
    """form: one of `runs_table.FORMATS`. Markdown has groups, notes and runs; others the groups, or without them the
    runs, as a single table."""
    if form != "markdown":
        return written(group_rows(found.groups) if found.groups else table(found.runs), form)
    parts = [group_markdown(found.groups)] if found.groups else []
    parts += ["".join(f"- {note}\n" for note in found.notes)] if found.notes else []
    return "\n".join([*parts, written(table(found.runs), form)])


def _column(name: str, columns: Sequence[str]) -> str:
    """The column of that name, or the only one that begins with it."""
    if name in columns:
        return name
    begin = [column for column in columns if column.casefold().startswith(name.casefold())]
    if len(begin) != 1:
        raise UserError(f"sort: {name}, wanted one of {'; '.join(begin or columns)}")
    return begin[0]

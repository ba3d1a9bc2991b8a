"""Every run as a row, every figure of a run by its column's name; and either as text."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from eval.compare.compared import ComparedRun
from eval.compare.grouping import differing
from eval.compare.kinds import STEP_ORDER, better_of, title_of

FORMATS = ("markdown", "csv", "json")
NOTHING = "-"  # a cell of which nothing is known
ALL_STEPS, MEMORY = "all steps (s)", "peak memory (MB)"

Cell = str | float | None
Row = dict[str, Cell]


def table(runs: Sequence[ComparedRun]) -> list[Row]:
    """One row per run; all rows have the same columns, in the same order, and none that is empty throughout."""
    keys, several_kinds = differing(runs), len({run.kind for run in runs}) > 1
    figures, metrics = _figure_names(runs), sorted({metric for run in runs for metric in run.scores})
    rows: list[Row] = []
    for run in runs:
        row: Row = {"run": run.name, "photo": run.photo or None, "state": run.state}
        row |= {"kind": run.kind if several_kinds else None}
        row |= {key: run.settings.get(key) for key in keys}
        row |= {f"{step} (s)": run.seconds.get(step) for step in STEP_ORDER}
        row |= {ALL_STEPS: round(sum(run.seconds.values()), 3) if run.seconds else None}
        row |= {MEMORY: run.peak_memory_mb}
        row |= {title_of(name): run.figures.get(name) for name in figures}
        row |= {metric: run.scores.get(metric) for metric in metrics}
        rows.append(row)
    filled = [column for column in rows[0] if any(row[column] is not None for row in rows)] if rows else []
    return [{column: row[column] for column in filled} for row in rows]


def figures_by_run(runs: Sequence[ComparedRun]) -> dict[str, dict[ComparedRun, float]]:
    """{column: {run: value}}: scores first, then what the steps left, then the cost of runs that are finished."""
    metrics = sorted({metric for run in runs for metric in run.scores})
    found = {metric: {run: run.scores[metric] for run in runs if metric in run.scores} for metric in metrics}
    found |= {
        title_of(name): {run: run.figures[name] for run in runs if name in run.figures} for name in _figure_names(runs)
    }
    finished = [run for run in runs if run.finished]
    found[ALL_STEPS] = {run: round(sum(run.seconds.values()), 3) for run in finished if run.seconds}
    found[MEMORY] = {run: run.peak_memory_mb for run in finished if run.peak_memory_mb is not None}
    return {name: values for name, values in found.items() if values}


def directions(runs: Sequence[ComparedRun]) -> dict[str, str | None]:
    """{column of `figures_by_run`: `lower` or `higher`, whichever is better; None where that is not known}."""
    told = {metric: better for run in runs for metric, better in run.better.items()}
    return {column: told.get(column) or better_of(column) for column in figures_by_run(runs)}


def best_first(
    runs: Sequence[ComparedRun], values: Mapping[ComparedRun, float], better: str | None
) -> list[ComparedRun]:
    """Largest first where it is not known what is better; runs without a value come last."""
    sign = 1 if better == "lower" else -1
    return sorted(runs, key=lambda run: (run not in values, sign * values.get(run, 0.0)))


def written(rows: Sequence[Row], form: str) -> str:
    """A table as text, ending in a line break. form: one of FORMATS."""
    if form == "json":
        return json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n"
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()
    columns = list(rows[0])
    sides = ["--:" if all(not isinstance(row[column], str) for row in rows) else "---" for column in columns]
    return markdown_table([columns, sides, *([text_of(row[column]) for column in columns] for row in rows)])


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """lines: the heading, the row below it, and the cells."""
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def text_of(cell: Cell) -> str:
    """A cell as people read it."""
    if cell is None:
        return NOTHING
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) >= 100 else f"{cell:.4g}"
    return str(cell)


def _figure_names(runs: Sequence[ComparedRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.figures))

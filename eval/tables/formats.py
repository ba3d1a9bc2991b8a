"""A table as Markdown, CSV, LaTeX or JSON. The same table is the same text, byte by byte."""

import csv
import io
import json
import math
import re
from collections.abc import Callable
from typing import Any

from eval.tables.build import Cell, Table
from eval.tables.cells import cells, heading_of, parts
from eval.tables.latex import latex
from eval.tables.statistics import FEW, Interval
from worldgen.errors import expect

_MARKDOWN_SIGNS = re.compile(r"[\\`*|<]|(?<!\w)_|_(?!\w)")  # an underscore within a word means nothing


def render(table: Table, format: str) -> str:
    """format: markdown, csv or latex. Raises UserError for others."""
    expect("format", format, format in FORMATS, f"one of {', '.join(FORMATS)}")
    return FORMATS[format](table)


def markdown(table: Table) -> str:
    """For READMEs, and for reading as it is."""
    heading = ["method", *(_markdown(heading_of(table, part)) for part in parts(table))]
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)]]
    lines += [[_markdown(row.label), *cells(table, row, "**{}**".format, "{} ± {}")] for row in table.rows]
    grid = [f"| {' | '.join(line)} |" for line in lines]
    footer = [f"- {_markdown(line)}" for line in table.footer]
    return "\n".join([f"**{_markdown(table.title)}**", "", *grid, "", *footer]) + "\n"


def comma_separated(table: Table) -> str:
    """For other programs: full precision, bounds in columns of their own, nothing where there is no score. What is to
    be known of it is `metadata`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kinds = ("paper", "mean", "low", "high", "n", "complete")
    writer.writerow(["method", "label", *(f"{metric} {kind}" for metric in table.columns for kind in kinds)])
    for row in table.rows:
        writer.writerow([row.method, row.label, *(text for cell in row.cells for text in _fields(cell))])
    return out.getvalue()


def metadata(table: Table) -> str:
    """What a reader of the CSV has to know, as JSON."""
    content = {
        "name": table.name,
        "title": table.title,
        "columns": {
            metric: {"label": column.label, "better": column.better, "digits": column.digits}
            for metric, column in table.columns.items()
        },
        "best": {
            metric: [row.method for row in table.rows if row.cells[place].best]
            for place, metric in enumerate(table.columns)
        },
        "notes": list(table.footer),
    }
    return json.dumps(content | as_json(table), indent=1, ensure_ascii=False) + "\n"


def as_json(table: Table) -> dict[str, Any]:
    """The table's figures: means, their intervals and n, differences from the baseline, and how many views are lost;
    null for what is not finite, which JSON does not know."""
    figures = table.figures()
    return {
        "means": {
            method: {metric: _plain(interval.mean) for metric, interval in metrics.items()}
            for method, metrics in figures.items()
            if metrics
        },
        "intervals": {
            method: {metric: _bounds(interval) for metric, interval in metrics.items()}
            for method, metrics in figures.items()
            if metrics
        },
        "differences": {
            f"{difference.method} - {difference.baseline}": {
                metric: {"mean": _plain(interval.mean)} | _bounds(interval)
                for metric, interval in difference.metrics.items()
            }
            for difference in table.differences
        },
        "lost_views": dict(table.lost),
    }


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}


def _bounds(interval: Interval) -> dict[str, float | int | None]:
    bounds = {"low": _plain(interval.low), "high": _plain(interval.high), "n": interval.count}
    return bounds | ({"few": True} if interval.known and interval.count < FEW else {})


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fields(cell: Cell) -> list[str]:
    """A cell's values for other programs: the paper's, ours, its bounds, over how many, and whether nothing is lost."""
    paper = "" if cell.paper is None else repr(float(cell.paper))
    complete = "" if cell.ours is None and cell.complete else str(cell.complete).lower()
    if cell.ours is None:
        return [paper, "", "", "", "", complete]
    bounds = [repr(cell.ours.low), repr(cell.ours.high)] if cell.ours.known else ["", ""]
    return [paper, repr(cell.ours.mean), *bounds, str(cell.ours.count or ""), complete]


def _markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return _MARKDOWN_SIGNS.sub(r"\\\g<0>", text)

"""A table's headings and cells as text, whatever it is written in."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eval.tables.build import Cell, Table, TableRow
from eval.tables.settings import Column

MISSING, INCOMPLETE = "-", "incomplete"
PAPER, MEASURED = "paper", "measured"
ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Part:
    """One column of figures: the metric's place and the metric; side: whose figures; count: over how many images."""

    place: int
    column: Column
    side: str
    count: int


def parts(table: Table) -> Iterator[Part]:
    """The columns of figures, left to right."""
    for place, column in enumerate(table.columns.values()):
        counts = [cell.ours.count for row in table.rows if (cell := row.cells[place]).ours]
        for side in sides(table, place):
            yield Part(place, column, side, max(counts, default=0) if side == MEASURED else 0)


def sides(table: Table, place: int) -> tuple[str, ...]:
    """Of a metric: the paper's column where the paper has figures, and what was measured here."""
    return (PAPER, MEASURED) if table.has_paper(place) else (MEASURED,)


def heading_of(table: Table, part: Part) -> str:
    """Such as `NIQE ↓ measured, n=3`."""
    side = f" {part.side}" if table.has_paper(part.place) else ""
    return f"{metric_heading(part.column)}{side}{f', n={part.count}' if part.count else ''}"


def metric_heading(column: Column) -> str:
    return f"{column.label} {ARROWS[column.better]}"


def cells(table: Table, row: TableRow, bold: Callable[[str], str], plus_minus: str) -> list[str]:
    """A row's figures as text. plus_minus: how a mean and half a width are put together."""
    texts = []
    for part in parts(table):
        cell = row.cells[part.place]
        if part.side == PAPER:
            texts.append(MISSING if cell.paper is None else number(cell.paper, part.column))
        else:
            texts.append(_measured(cell, part.column, table.interval, bold, plus_minus))
    return texts


def _measured(cell: Cell, column: Column, interval: str, bold: Callable[[str], str], plus_minus: str) -> str:
    if cell.ours is None:
        return MISSING if cell.complete else INCOMPLETE
    mean = number(cell.ours.mean, column)
    mean = bold(mean) if cell.best else mean
    text = mean
    if cell.ours.known and interval == "bounds":
        text = f"{mean} [{number(cell.ours.low, column)}, {number(cell.ours.high, column)}]"
    elif cell.ours.known:
        text = plus_minus.format(mean, number(cell.ours.half_width, column))
    return text if cell.complete else f"{text} ({INCOMPLETE})"


def number(value: float, column: Column) -> str:
    """With the column's digits, and no minus before zero."""
    text = f"{value:.{column.digits}f}"
    return text.lstrip("-") if math.isfinite(value) and float(text) == 0 else text

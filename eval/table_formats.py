"""A table as Markdown, CSV or LaTeX. The same table is the same text, byte by byte."""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator

from eval.tables import Cell, Column, Table, TableRow
from worldgen.errors import UserError

MISSING = "-"
_MARKDOWN_SIGNS = re.compile(r"[\\`*|<]|(?<!\w)_|_(?!\w)")  # an underscore within a word means nothing
_TEX_INFINITY = r"\infty"
_ARROWS = {"lower": "↓", "higher": "↑"}
_TEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "°": r"$^\circ$",
}


def render(table: Table, format: str) -> str:
    """format: markdown, csv or latex. Raises UserError for others."""
    if format not in FORMATS:
        raise UserError(f"format={format}: wanted one of {', '.join(FORMATS)}")
    return FORMATS[format](table)


def markdown(table: Table) -> str:
    """For READMEs, and for reading as it is."""
    heading = ["method", *(_markdown(f"{_heading(column)} {side}") for _, column, side in _parts(table))]
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)]]
    lines += [[_markdown(row.label), *_cells(table, row, "**{}**".format, "{} ± {}")] for row in table.rows]
    grid = [f"| {' | '.join(line)} |" for line in lines]
    footer = [f"- {_markdown(line)}" for line in table.footer]
    return "\n".join([f"**{_markdown(table.title)}**", "", *grid, "", *footer]) + "\n"


def comma_separated(table: Table) -> str:
    """For other programs: full precision, bounds in columns of their own, nothing where there is no score; the footer
    comes last, in lines that begin with #."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kinds = ("paper", "ours", "low", "high", "images")
    writer.writerow(["method", "label", *(f"{metric} {kind}" for metric in table.columns for kind in kinds)])
    for row in table.rows:
        writer.writerow([row.method, row.label, *(text for cell in row.cells for text in _fields(cell))])
    return out.getvalue() + "".join(f"# {line}\n" for line in (table.title, *table.footer))


def latex(table: Table) -> str:
    """A table environment; wants the package booktabs, and UTF-8 as LaTeX reads by itself."""
    count = len(list(_parts(table)))
    groups, rules, at = [], [], 2
    for place, column in enumerate(table.columns.values()):
        width = len(_sides(table, place))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex(_heading(column))}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    sides = ["method", *(side for _, _, side in _parts(table))]
    body = [[_latex(row.label), *_latex_cells(table, row)] for row in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * count}}}",
        r"\toprule",
        f" & {' & '.join(groups)} " + r"\\",
        "".join(rules),
        f"{' & '.join(sides)} " + r"\\",
        r"\midrule",
        *(f"{' & '.join(line)} " + r"\\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\noindent\footnotesize {_latex(line)}" for line in table.footer),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}


def _sides(table: Table, place: int) -> tuple[str, ...]:
    """Of a metric: the paper's column where the paper has figures, and ours."""
    return ("paper", "ours") if table.has_paper(place) else ("ours",)


def _parts(table: Table) -> Iterator[tuple[int, Column, str]]:
    """The columns of figures, left to right: the metric's place, the metric, whose figures."""
    for place, column in enumerate(table.columns.values()):
        for side in _sides(table, place):
            yield place, column, side


def _cells(table: Table, row: TableRow, bold: Callable[[str], str], plus_minus: str) -> list[str]:
    """A row's figures as text. plus_minus: how a mean and half a width are put together."""
    texts = []
    for place, column, side in _parts(table):
        cell = row.cells[place]
        if side == "paper":
            texts.append(MISSING if cell.paper is None else _number(cell.paper, column))
        else:
            texts.append(_ours(cell, column, table.interval, bold, plus_minus))
    return texts


def _ours(cell: Cell, column: Column, interval: str, bold: Callable[[str], str], plus_minus: str) -> str:
    if cell.ours is None:
        return MISSING
    mean = _number(cell.ours.mean, column)
    mean = bold(mean) if cell.best else mean
    if not cell.ours.known:
        return mean
    if interval == "bounds":
        return f"{mean} [{_number(cell.ours.low, column)}, {_number(cell.ours.high, column)}]"
    return plus_minus.format(mean, _number(cell.ours.half_width, column))


def _latex_cells(table: Table, row: TableRow) -> list[str]:
    texts = _cells(table, row, r"\mathbf{{{}}}".format, r"{} \pm {}")
    return [text if text == MISSING else f"${text.replace('inf', _TEX_INFINITY)}$" for text in texts]


def _fields(cell: Cell) -> list[str]:
    """A cell's values for other programs: the paper's, ours, its bounds, over how many images."""
    paper = "" if cell.paper is None else repr(float(cell.paper))
    if cell.ours is None:
        return [paper, "", "", "", ""]
    bounds = [repr(cell.ours.low), repr(cell.ours.high)] if cell.ours.known else ["", ""]
    return [paper, repr(cell.ours.mean), *bounds, str(cell.ours.count or "")]


def _number(value: float, column: Column) -> str:
    text = f"{value:.{column.digits}f}"
    return text.lstrip("-") if math.isfinite(value) and float(text) == 0 else text  # no minus zero


def _heading(column: Column) -> str:
    return f"{column.label} {_ARROWS[column.better]}"


def _markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return _MARKDOWN_SIGNS.sub(r"\\\g<0>", text)


def _latex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)

"""A comparison as one HTML page that carries all it needs: plots that answer to clicks, groups, and every run."""

import json
from html import escape
from importlib.util import find_spec
from pathlib import Path

from eval.compare.comparison import Comparison, comparison
from eval.compare.group_means import Figure, GroupDifference, Grouped, GroupMean
from eval.compare.group_table import ARROWS, difference_cell, mean_cell, notes_of, runs_cell
from eval.compare.grouping import usual_keys
from eval.compare.page_data import page_data
from eval.compare.run_notes import notes_on
from worldgen.errors import UserError

_HERE = Path(__file__).parent


def expect_plotly(setting: str) -> None:
    """Raises UserError where the package is missing. setting: what asked for it."""
    if find_spec("plotly") is None:
        raise UserError(f"{setting}: the package plotly is not installed, wanted pip install 'worldgen[compare]'")


def page_of(found: Comparison, place: Path, title: str = "Runs side by side") -> str:
    """The page. place: the folder that it will lie in, for its links to the runs' reports.

    Without groups it gets those of `usual_keys`, if there are any. Raises UserError where plotly is missing.
    """
    expect_plotly("a page")
    from plotly.offline import get_plotlyjs

    groups = found.groups
    if groups is None and (keys := usual_keys(found.runs)):
        groups = comparison(found.runs, keys).groups
    finished = sum(run.finished for run in found.runs)
    data = json.dumps(
        page_data(found.runs, place, found.column, groups.keys if groups else ()), ensure_ascii=False
    ).replace("<", "\\u003c")
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    head = f"<h1>{escape(title)}</h1>\n<p class='soft'>{len(found.runs)} runs, {finished} finished</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · worldgen</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{head}\n{_notes(notes_on(found.runs))}{_groups_section(groups) if groups else ''}"
        f"{(_HERE / 'page.html').read_text(encoding='utf-8')}</main>\n"
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _notes(lines: list[str]) -> str:
    entries = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{entries}</ul>\n' if lines else ""


def _groups_section(groups: Grouped) -> str:
    heads = "".join(f"<th>{escape(key)}</th>" for key in groups.keys)
    heads += '<th class="n">runs</th>'
    heads += "".join(f'<th class="n">{escape(each.name)}{ARROWS[each.better]}</th>' for each in groups.telling())
    rows = "".join(_group_row(groups, place) for place in range(len(groups.groups)))
    less = f", and difference to {escape(groups.baseline)}" if groups.baseline else ""
    return (
        f'<section><h2>By {escape(", ".join(groups.keys))}</h2>\n<p class="soft">Means over groups{less}. '
        'Click on a heading to sort.</p>\n<div class="wide"><table class="sorts"><thead><tr>'
        f"{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n{_notes(notes_of(groups))}</section>\n"
    )


def _group_row(groups: Grouped, place: int) -> str:
    group = groups.groups[place]
    finished = sum(run.finished for run in group.runs)
    cells = "".join(f"<td>{escape(value)}</td>" for value in group.values)
    cells += f'<td class="n" data-v="{len(group.runs)}">{runs_cell(len(group.runs), finished)}</td>'
    for figure in groups.telling():
        difference = figure.differences[place] if figure.differences else None
        cells += _group_cell(figure, figure.means[place], difference)
    return f"<tr>{cells}</tr>\n"


def _group_cell(figure: Figure, mean: GroupMean, difference: GroupDifference | None) -> str:
    value = "" if mean.interval is None else f' data-v="{mean.interval.mean!r}"'
    below = f'<span class="{_verdict(figure, difference)}">{difference_cell(difference)}</span>' if difference else ""
    kind = "n best" if mean.best else "n"
    lacks = f' title="not ranked: lacks {escape("; ".join(map(str, mean.lacks)))}"' if mean.lacks else ""
    return f'<td class="{kind}"{value}{lacks}>{mean_cell(mean)}{below}</td>'


def _verdict(figure: Figure, difference: GroupDifference) -> str:
    """Whether a difference is beyond doubt, and which way."""
    interval = difference.interval
    if figure.better is None or not interval.known or interval.low <= 0 <= interval.high:
        return "difference"
    return "difference good" if (interval.mean < 0) == (figure.better == "lower") else "difference bad"

"""What the page's plots and table draw, as JSON: columns (settings and figures), and a value of each for every run."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eval.compare.compared import ComparedRun
from eval.compare.grouping import differing, telling_apart
from eval.compare.kinds import STEP_ORDER
from eval.compare.run_pictures import data_uris
from eval.compare.runs_table import directions, figures_by_run

_PAGES = ("report.html", "world.html", "export/world.html")


def page_data(
    runs: Sequence[ComparedRun], place: Path, column: str | None = None, keys: Sequence[str] = ()
) -> dict[str, Any]:
    """{columns, runs, first, colour} for page.js.

    place: the folder that links begin from; column: of the figure that is shown first; keys: what groups are told apart
    by, of which the first gives the colour of dots.
    """
    figures, better, thumbnails = figures_by_run(runs), directions(runs), data_uris(runs)
    step_seconds = {
        f"{step} (s)": {run: run.seconds[step] for run in runs if step in run.seconds} for step in STEP_ORDER
    }
    values: dict[str, dict[ComparedRun, Any]] = {}
    columns: list[dict[str, Any]] = []

    apart = {"photo", "kind", *telling_apart(runs)}

    def add(name: str, kind: str, of_runs: dict[ComparedRun, Any]) -> None:
        if of_runs:
            numeric = not any(isinstance(value, str) for value in of_runs.values())
            column = {"name": name, "kind": kind, "numeric": numeric, "better": better.get(name)}
            columns.append(column | ({"apart": name in apart} if kind == "setting" else {}))
            values[name] = of_runs

    for name in ("photo", "kind"):
        of_runs = {run: getattr(run, name) for run in runs if getattr(run, name)}
        add(name, "setting", of_runs if len(set(of_runs.values())) > 1 else {})
    for key in differing(runs):
        add(key, "setting", _numbers_if_all({run: run.settings[key] for run in runs if key in run.settings}))
    for name, of_figure in figures.items():
        add(name, "figure", {run: value for run, value in of_figure.items() if math.isfinite(value)})
    for name, of_step in step_seconds.items():
        add(name, "step", of_step)
    return {
        "columns": columns,
        "first": column,
        "colour": next((name for key in keys for name in values if name == key or name.startswith(f"{key}.")), None),
        "runs": [
            {
                "name": run.name,
                "photo": run.photo,
                "state": run.state,
                "finished": run.finished,
                "link": _link(run, place),
                "picture": thumbnails.get(run),
                "values": {name: of_runs[run] for name, of_runs in values.items() if run in of_runs},
            }
            for run in runs
        ],
    }


def _numbers_if_all(texts: dict[ComparedRun, str]) -> dict[ComparedRun, Any]:
    """A setting's values as numbers, where every one is."""
    try:
        numbers = {run: float(text) for run, text in texts.items()}
    except ValueError:
        return dict(texts)
    return dict(numbers) if all(map(math.isfinite, numbers.values())) else dict(texts)


def _link(run: ComparedRun, place: Path) -> str | None:
    """To the run's report, or else to its world, from the folder `place`; None where it has neither."""
    if run.folder is None:
        return None
    for page in _PAGES:
        if (run.folder / page).is_file():
            return quote(os.path.relpath(run.folder / page, place).replace(os.sep, "/"))
    return None

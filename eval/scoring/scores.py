"""Scores on disk: scores.csv, a row per method, image, view and metric; evaluation.json, which says how they came.

A value that is not a number stands for a score that was to be had and could not. evaluation.json holds the protocol's
settings, each metric's versions or why it is not available, and of each method its path, its images, what failed, and
what a metric of whole sets looked at. Neither file holds a time: what is made from them is the same every time.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.runs.disk import write_text

SCORES_FILE, EVALUATION_FILE = "scores.csv", "evaluation.json"
COLUMNS = ("method", "image", "view", "metric", "value")
_NO_UNICODE = re.compile("[\ud800-\udfff]")
WHOLE_SET = "all"  # image and view of a metric that looks at a method's pictures all at once, such as FID


@dataclass(frozen=True)
class Score:
    """One metric of one picture. image: the photo or scene, of one name for every method; view: which look at it."""

    method: str
    image: str
    view: str
    metric: str
    value: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What is scored, and by what: once in a file."""
        return (self.method, self.image, self.view, self.metric)


def write_scores(folder: Path, rows: Iterable[Score], evaluation: Mapping[str, Any]) -> None:
    """Writes both files into `folder`, each whole or not at all. Raises ValueError for a row that is there twice."""
    text = scores_text(rows)
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(evaluation, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_text(folder / EVALUATION_FILE, _escaped(content))
    write_text(folder / SCORES_FILE, text)


def scores_text(rows: Iterable[Score]) -> str:
    """The content of scores.csv: sorted, values as Python writes them, so that none loses a digit."""
    ordered = sorted(rows, key=lambda row: row.key)
    for row, following in pairwise(ordered):
        if row.key == following.key:
            raise ValueError(f"{' '.join(row.key)}: scored twice")
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows((*row.key, repr(float(row.value))) for row in ordered)
    return out.getvalue()


def read_scores(folder: Path) -> list[Score]:
    """The rows of a folder's scores.csv. Raises UserError where it is missing or holds something else."""
    path = folder / SCORES_FILE
    try:
        lines = list(csv.reader(io.StringIO(_read(path), newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not a table that can be read ({error})") from error
    if not lines or tuple(lines[0]) != COLUMNS:
        begins = ",".join(lines[0]) if lines else "nothing"
        raise UserError(f"{path}: begins with {begins}, wanted {','.join(COLUMNS)}")
    rows = [_row(path, number, cells) for number, cells in enumerate(lines[1:], start=2)]
    known: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows, start=2):
        if row.key in known:
            raise UserError(f"{path}: line {number} scores {' '.join(row.key)} a second time, wanted once")
        known.add(row.key)
    return rows


def read_evaluation(folder: Path) -> dict[str, Any]:
    """A folder's evaluation.json. Raises UserError where it is missing or no JSON object."""
    path = folder / EVALUATION_FILE
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, wanted a JSON object")
    return content


def set_scores(rows: Iterable[Score]) -> dict[str, dict[str, float]]:
    """{metric: {method: value}} of the metrics that look at all pictures at once."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.image == WHOLE_SET and not math.isnan(row.value):
            found.setdefault(row.metric, {})[row.method] = row.value
    return found


def _row(path: Path, number: int, cells: Sequence[str]) -> Score:
    if len(cells) != len(COLUMNS):
        raise UserError(f"{path}: line {number} has {len(cells)} columns, wanted {len(COLUMNS)}")
    try:
        method, image, view, metric, value = cells
        return Score(method, image, view, metric, float(value))
    except ValueError as error:
        raise UserError(f"{path}: line {number} has the value {cells[4]!r}, wanted a number") from error


def _escaped(content: str) -> str:
    """JSON in which a path's bytes that are no UTF-8 (lone surrogates to Python) are escapes, which read back alike."""
    return _NO_UNICODE.sub(lambda found: f"\\u{ord(found[0]):04x}", content)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file, wanted what `python -m eval ... out={path.parent}` writes") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file, wanted {path.name} as `python -m eval` writes it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error

"""Runs side by side: what differs in their settings, what each step took, what came out, how it was scored.

    python -m eval.compare runs/*                                  run folders, or folders that hold them
    python -m eval.compare runs/panorama_ablation scores=runs/scores --out comparison.md
    python -m eval.compare wandb=me/worldgen group=panorama_ablation
    python -m eval.compare wandb=runs                              those that logger=wandb logged, offline too

Run folders tell all by themselves; W&B is asked only where wandb= names a project. A group is W&B's there, and of run
folders the name of the folder that holds them. Scores come from scores=<folder>, and from
evaluations that lie in or beside the runs; W&B knows them by method, not by run, so its rows have none. A run that
failed, or has not ended yet, is a row like any other; one that lost a view in an evaluation has no score there, for it
would be a mean over other views than the other runs'. The last line is one JSON object.
"""

import argparse
import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eval.compare.compared import STEP_NAMES, ComparedRun, folders_of_runs, from_folder, from_wandb, logged_folders
from eval.compare.wandb_api import online_runs
from eval.scoring.scores import SCORES_FILE
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.errors import UserError
from worldgen.paths import user_path
from worldgen.runs.disk import write_text

FORMATS = ("markdown", "csv", "json")
NOTHING = "-"  # a cell of which nothing is known
_SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json"}
_FIGURES = {"points": "points", "gaussians": "Gaussians", "psnr_db": "PSNR (dB)", "loss": "loss"}

Cell = str | float | None
Row = dict[str, Cell]


@dataclass
class Asked:
    """What the command line names. runs: folders; scores: folders of evaluations; wandb: a project, or a folder."""

    runs: list[Path] = field(default_factory=list)
    scores: list[Path] = field(default_factory=list)
    wandb: str | None = None
    group: str | None = None


def compare(asked: Asked) -> list[ComparedRun]:
    """Every run that is asked for, scored where an evaluation scored it. Raises UserError where there is none."""
    folders, found = folders_of_runs(asked.runs), []
    if asked.wandb is not None:
        place = user_path(asked.wandb)
        if place.is_dir():
            folders += logged_folders(place, asked.group)
        else:
            found = from_wandb(online_runs(asked.wandb, asked.group))
    found = [*map(from_folder, folders), *found]
    if not any(run.seconds for run in found):
        where = asked.wandb or ", ".join(map(str, asked.runs[:3])) or "nothing was named"
        raise UserError(f"{where}: no run in it, wanted folders of `python -m worldgen`, or wandb=<entity/project>")
    return _apart(_with_scores(found, asked.scores))


def differing(runs: Iterable[ComparedRun]) -> list[str]:
    """Keys of settings that are not the same in all runs of which they are known; sorted."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.settings.items():
            values.setdefault(key, set()).add(value)
    return sorted(key for key, found in values.items() if len(found) > 1)


def table(runs: Sequence[ComparedRun]) -> list[Row]:
    """One row per run; all rows have the same columns, in the same order, and none that is empty throughout."""
    keys = differing(runs)
    metrics = sorted({metric for run in runs for metric in run.scores})
    rows: list[Row] = []
    for run in runs:
        row: Row = {"run": run.name, "photo": run.photo or None, "state": run.state}
        row |= {key: run.settings.get(key) for key in keys}
        row |= {f"{step} (s)": run.seconds.get(step) for step in STEP_NAMES}
        row |= {"all steps (s)": round(sum(run.seconds.values()), 3) if run.seconds else None}
        row |= {"peak memory (MB)": run.peak_memory_mb}
        row |= {title: run.figures.get(name) for name, title in _FIGURES.items()}
        row |= {metric: run.scores.get(metric) for metric in metrics}
        rows.append(row)
    filled = [column for column in rows[0] if any(row[column] is not None for row in rows)] if rows else []
    return [{column: row[column] for column in filled} for row in rows]


def written(rows: Sequence[Row], form: str) -> str:
    """The table as text, ending in a line break. form: one of FORMATS."""
    if form == "json":
        return json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n"
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()
    columns = list(rows[0])
    sides = ["--:" if _is_numeric(rows, column) else "---" for column in columns]
    lines = [columns, sides, *([_text(row[column]) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _with_scores(runs: Sequence[ComparedRun], asked: Sequence[Path]) -> list[ComparedRun]:
    """The runs with what evaluations found of them; metrics are told apart by evaluation where there are several."""
    from eval.compare.scored_runs import (  # takes seconds, which a mistake in the command line need not
        RunScores,
        scores_of_runs,
    )

    beside = {run.folder.parent for run in runs if run.folder} | {run.folder for run in runs if run.folder}
    found = sorted(
        {path.parent for place in beside for path in (*place.glob(SCORES_FILE), *place.glob(f"*/{SCORES_FILE}"))}
    )
    evaluations: dict[Path, dict[Path, RunScores]] = {}
    for folder in {path.resolve(): path for path in (*found, *asked)}.values():
        try:
            scores = scores_of_runs(folder)
        except UserError as error:
            if folder in asked:
                raise
            print(f"left out: {error}", file=sys.stderr)
            continue
        if any(run.folder and run.folder.resolve() in scores for run in runs):
            evaluations[folder] = scores
    scored = []
    for run in runs:
        known: dict[str, float] = {}
        for folder, scores in evaluations.items():
            own = scores.get(run.folder.resolve(), RunScores()) if run.folder else RunScores()
            suffix = f" ({folder.name})" if len(evaluations) > 1 else ""
            known |= {f"{metric}{suffix}": value for metric, value in own.scores.items()}
            if own.lost:
                print(f"not scored: {run.name}: {_lost_text(own.lost)} in {folder}", file=sys.stderr)
        scored.append(replace(run, scores=run.scores | known))
    return scored


def _lost_text(lost: Mapping[str, Sequence[str]]) -> str:
    """lost: {metric: views}."""
    views = sorted({view for of_metric in lost.values() for view in of_metric})
    names = f"{', '.join(views[:3])}{', ...' * (len(views) > 3)}"
    return f"no {', '.join(lost)}, for it lost {len(views)} view{'s' * (len(views) > 1)} ({names})"


def _apart(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """No two runs with one name: those that have it get their paths, or where they come from."""
    counts = Counter(run.name for run in runs)
    return [
        run if counts[run.name] == 1 else replace(run, name=str(run.folder) if run.folder else f"{run.name} (W&B)")
        for run in runs
    ]


def _is_numeric(rows: Sequence[Row], column: str) -> bool:
    return all(not isinstance(row[column], str) for row in rows)


def _text(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) >= 100 else f"{cell:.4g}"
    return str(cell)


def _asked(arguments: Sequence[str]) -> Asked:
    asked = Asked()
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not re.match(r"(wandb|group|scores)=", argument):
            asked.runs.append(user_path(argument))
        elif not value:
            raise UserError(f"{key}: nothing, wanted a {'folder' if key == 'scores' else 'name'}")
        elif key == "scores":
            asked.scores.append(user_path(value))
        else:
            setattr(asked, key, value)
    if asked.group and not asked.wandb:
        raise UserError(f"group: {asked.group}, wanted only with wandb=<entity/project>")
    return asked


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(
        prog="python -m eval.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("asked", nargs="+", metavar="run", help="run folder, wandb=, group= or scores=")
    parser.add_argument("--format", choices=FORMATS, help="default: as --out ends, or else markdown")
    parser.add_argument("--out", type=Path, help="the table's file; without it, the table is printed")
    options = parser.parse_args(arguments)
    runs = compare(_asked(options.asked))
    form = options.format or (_SUFFIXES.get(options.out.suffix) if options.out else None) or "markdown"
    text = written(table(runs), form)
    if options.out:
        _write(options.out, text)
    else:
        print(text)
    summary = {"runs": len(runs), "finished": sum(run.finished for run in runs), "differ": differing(runs)}
    print(json.dumps(summary | ({"out": str(options.out)} if options.out else {})))
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise UserError(f"--out: {path} cannot be written ({error.strerror}), wanted another file") from error

"""Runs side by side: what differs in their settings, what each step took, what came out, how it was scored.

    python -m eval.compare runs/*                                  run folders, or folders that hold them
    python -m eval.compare runs/panorama_ablation scores=runs/scores --out comparison.md
    python -m eval.compare runs/sweep by=panorama baseline=sequential sort=niqe     grouped by a setting, or several
    python -m eval.compare runs/sweep --out comparison.html --out comparison.csv    a page with plots; and a table
    python -m eval.compare runs/sweep --gallery worlds.html         a picture of each world, its settings and scores
    python -m eval.compare wandb=me/worldgen group=panorama_ablation
    python -m eval.compare wandb=runs                              those that logger=wandb logged, offline too

Run folders tell all by themselves; W&B is asked only where wandb= names a project. A group is W&B's there, and of run
folders the name of the folder that holds them. Worlds, fits (train.splat) and ControlNets (train.controlnet) are
compared alike, from either. Scores come from scores=<folder>, and from evaluations that lie in or beside the runs;
W&B's rows have those that evaluations with logger=wandb added to a world's run. A run that failed, or has not ended
yet, is a row like any other; one that lost a view in an evaluation has no score there, for it would be a mean over
other views than the other runs'.

by=<setting>,<setting> averages runs that have these in common: photos are what intervals are over, and a photo's seeds
are averaged first. A group that lacks what others have is not ranked; allow_missing=true takes the means over what all
groups have. by= takes settings (panorama.heuristic), groups of them (panorama), photo, kind, and group.
baseline=<values of a group> adds differences, paired by photo and seed where both have them. sort=<column> puts the
best first. The last line is one JSON object.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eval.compare.attach_scores import with_scores
from eval.compare.compared import ComparedRun, folders_of_runs, from_folder, from_wandb, logged_folders
from eval.compare.comparison import Comparison, as_text, comparison
from eval.compare.grouping import differing
from eval.compare.page import expect_plotly, page_of
from eval.compare.runs_table import FORMATS
from eval.compare.wandb_api import online_runs
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.errors import UserError, expect
from worldgen.paths import user_path
from worldgen.runs.disk import write_text

PAGE = "html"
_SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": PAGE}
_NAMED = ("wandb", "group", "scores", "by", "baseline", "sort", "allow_missing")
_WANTED = {"scores": "folder", "by": "setting", "sort": "column"}


@dataclass
class Asked:
    """What the command line names. runs: folders; scores: folders of evaluations; wandb: a project, or a folder; by:
    settings that tell groups apart; baseline: the values of one group; sort: a column; allow_missing: `true` or
    `false`."""

    runs: list[Path] = field(default_factory=list)
    scores: list[Path] = field(default_factory=list)
    wandb: str | None = None
    group: str | None = None
    by: str | None = None
    baseline: str | None = None
    sort: str | None = None
    allow_missing: str | None = None


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
    return _apart(with_scores(found, asked.scores))


def _apart(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """No two runs with one name: those that have it get their paths, or where they come from."""
    counts = Counter(run.name for run in runs)
    return [
        run if counts[run.name] == 1 else replace(run, name=str(run.folder) if run.folder else f"{run.name} (W&B)")
        for run in runs
    ]


def _asked(arguments: Sequence[str]) -> Asked:
    asked = Asked()
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not re.match(rf"({'|'.join(_NAMED)})=", argument):
            asked.runs.append(user_path(argument))
        elif not value:
            raise UserError(f"{key}: nothing, wanted a {_WANTED.get(key, 'name')}")
        elif key == "scores":
            asked.scores.append(user_path(value))
        else:
            setattr(asked, key, value)
    if asked.group and not asked.wandb:
        raise UserError(f"group: {asked.group}, wanted only with wandb=<entity/project>")
    if asked.baseline and not asked.by:
        raise UserError(f"baseline: {asked.baseline}, wanted only with by=<setting>, whose groups it is one of")
    expect("allow_missing", asked.allow_missing, asked.allow_missing in (None, "true", "false"), "true or false")
    return asked


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(
        prog="python -m eval.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(f"{name}=" for name in _NAMED)
    parser.add_argument("asked", nargs="+", metavar="run", help=f"run folder, or one of {names}")
    parser.add_argument("--format", choices=FORMATS, help="default: as --out ends, or else markdown")
    outs = "a file (.md, .csv, .json, or .html: a page); may be given several times; without it, the table is printed"
    parser.add_argument("--out", type=Path, action="append", default=[], help=outs)
    parser.add_argument("--gallery", type=Path, help="a page with a picture of each world, its settings and scores")
    options = parser.parse_args(arguments)
    asked = _asked(options.asked)
    forms = {path: options.format or _SUFFIXES.get(path.suffix, "markdown") for path in options.out}
    if PAGE in forms.values():
        expect_plotly(f"--out {next(path for path, form in forms.items() if form == PAGE)}")
    expect("--gallery", options.gallery, options.gallery not in forms, "another file than --out")
    by = asked.by.split(",") if asked.by else []
    runs = compare(asked)
    found = comparison(runs, by, asked.baseline, asked.sort, asked.allow_missing == "true")
    for path, form in forms.items():
        _write(path, page_of(found, path.parent) if form == PAGE else as_text(found, form))
    if options.gallery:
        from worldgen.gallery import write_gallery  # takes a second, which tables need not

        worlds = {run.folder: run.scores for run in runs if run.folder and run.kind == "world"}
        write_gallery([*worlds], options.gallery, worlds)
    written = [*forms, *([options.gallery] if options.gallery else [])]
    if not written:
        print(as_text(found, options.format or "markdown"))
    print(json.dumps(_summary(found) | ({"out": [str(path) for path in written]} if written else {})))
    return 0


def _summary(found: Comparison) -> dict[str, Any]:
    told: dict[str, Any] = {"runs": len(found.runs), "finished": sum(run.finished for run in found.runs)}
    told |= {"differ": differing(found.runs)}
    if found.groups:
        told["groups"] = [group.label for group in found.groups.groups]
        told["best"] = {
            figure.name: [found.groups.groups[place].label for place, mean in enumerate(figure.means) if mean.best]
            for figure in found.groups.figures
            if any(mean.best for mean in figure.means)
        }
    return told


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise UserError(f"--out: {path} cannot be written ({error.strerror}), wanted another file") from error

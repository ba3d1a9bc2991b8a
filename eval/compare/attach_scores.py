"""Which evaluation found what of which run: those that are named, and those that lie in or beside the runs."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eval.compare.compared import ComparedRun
from eval.scoring.scores import SCORES_FILE
from worldgen.errors import UserError

if TYPE_CHECKING:
    from eval.compare.scored_runs import RunScores


def with_scores(runs: Sequence[ComparedRun], asked: Sequence[Path]) -> list[ComparedRun]:
    """The runs with what evaluations found of them; metrics are told apart by evaluation where there are several.

    An evaluation beside the runs that cannot be read is left out, and said. Raises UserError for one that was asked
    for.
    """
    places = {path.resolve(): path for path in (*_beside(runs), *asked)}
    if not places:
        return list(runs)
    from eval.compare import scored_runs  # takes seconds, which runs without scores need not

    evaluations: dict[Path, dict[Path, RunScores]] = {}
    for folder in places.values():
        try:
            scores = scored_runs.scores_of_runs(folder)
        except UserError as error:
            if folder in asked:
                raise
            print(f"left out: {error}", file=sys.stderr)
            continue
        if any(run.folder and run.folder.resolve() in scores for run in runs):
            evaluations[folder] = scores
    better = {folder: scored_runs.directions(folder) for folder in evaluations}
    scored = []
    for run in runs:
        known, directed = dict(run.scores), dict(run.better)
        for folder, scores in evaluations.items():
            own = scores.get(run.folder.resolve()) if run.folder else None
            if own is None:
                continue
            suffix = f" ({folder.name})" if len(evaluations) > 1 else ""
            known |= {f"{metric}{suffix}": value for metric, value in own.scores.items()}
            directed |= {f"{metric}{suffix}": way for metric, way in better[folder].items() if metric in own.scores}
            if own.lost:
                print(f"not scored: {run.name}: {_lost_text(own.lost)} in {folder}", file=sys.stderr)
        scored.append(replace(run, scores=known, better=directed))
    return scored


def _beside(runs: Sequence[ComparedRun]) -> list[Path]:
    """Folders of scores in the runs' folders, beside them, and in folders there; runs may vanish meanwhile."""
    found = set()
    for place in {run.folder.parent for run in runs if run.folder} | {run.folder for run in runs if run.folder}:
        try:
            found |= {path.parent for path in (*place.glob(SCORES_FILE), *place.glob(f"*/{SCORES_FILE}"))}
        except OSError:
            continue
    return sorted(found)


def _lost_text(lost: Mapping[str, Sequence[str]]) -> str:
    """lost: {metric: views}."""
    views = sorted({view for of_metric in lost.values() for view in of_metric})
    names = f"{', '.join(views[:3])}{', ...' * (len(views) > 3)}"
    return f"no {', '.join(lost)}, for it lost {len(views)} view{'s' * (len(views) > 1)} ({names})"

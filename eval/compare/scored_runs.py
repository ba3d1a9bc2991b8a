"""Which run folders an evaluation scored, and what it found of each: from its scores.csv and evaluation.json alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.compare.compared import settings
from eval.protocols.methods import examine
from eval.protocols.outputs import Item
from eval.scoring.completeness import compare_views
from eval.scoring.scores import read_evaluation, read_scores
from worldgen.errors import UserError


@dataclass(frozen=True)
class RunScores:
    """scores: {metric: mean over its views}; lost: {metric: views without a score}, which leaves it no mean."""

    scores: dict[str, float] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)


def scores_of_runs(scores_folder: Path) -> dict[Path, RunScores]:
    """{run folder, resolved: its scores}; a run that lost a view that others have has none that compares with theirs.

    Raises UserError where the scores cannot be read.
    """
    by_metric, evaluation = compare_views(read_scores(scores_folder)), read_evaluation(scores_folder)
    found: dict[Path, RunScores] = {}
    examined: dict[str, Sequence[Item]] = {}
    for method in evaluation.get("methods", {}):
        for image, item in scored_items(evaluation, method, examined):
            if item.run is None:
                continue
            for metric, compared in by_metric.items():
                run = found.setdefault(item.run.folder.resolve(), RunScores())
                if image in compared.values.get(method, {}):
                    run.scores[metric] = compared.values[method][image]
                elif image in compared.lost.get(method, {}):
                    run.lost[metric] = compared.lost[method][image]
    return {folder: run for folder, run in found.items() if run.scores or run.lost}


def directions(scores_folder: Path) -> dict[str, str]:
    """{metric: `lower` or `higher`, whichever is better}, as far as the evaluation says it."""
    metrics = read_evaluation(scores_folder).get("metrics", {})
    found = {metric: record.get("better") for metric, record in metrics.items() if isinstance(record, Mapping)}
    return {metric: str(better) for metric, better in found.items() if better in ("lower", "higher")}


def scored_items(
    evaluation: Mapping[str, Any], method: str, examined: dict[str, Sequence[Item]] | None = None
) -> Iterator[tuple[str, Item]]:
    """Yields (image, what a method left behind for it), as far as it is still there. examined: {path: what is there},
    which grows, so that methods of one path have it looked at once.

    Methods that are one sweep's runs, told apart by a setting, share a path: then a run is the method's whose name is
    one of its settings.
    """
    methods = evaluation.get("methods", {})
    try:
        path, images = methods[method]["path"], set(methods[method]["images"])
        items = (examined or {}).get(path) or examine(method, path).items
    except (UserError, KeyError, TypeError):
        return
    if examined is not None:
        examined[path] = items
    shared = sum(entry.get("path") == path for entry in methods.values()) > 1
    for item in items:
        if shared and item.run and method not in settings(item.run.config).values():
            continue
        plain = item.image.removesuffix(f" ({item.path.name})")  # a name may need its folder only among all methods'
        for name in (f"{plain} ({item.path.name})", plain):
            if name in images:
                yield name, item
                break

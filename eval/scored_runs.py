"""Which run folders an evaluation scored, and what it found of each: from its scores.csv and evaluation.json alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.compared import settings
from eval.methods import Item, examine
from eval.scores import per_image, read_evaluation, read_scores
from worldgen.errors import UserError


def scores_of_runs(scores_folder: Path) -> dict[Path, dict[str, float]]:
    """{run folder, resolved: {metric: mean over its views}}. Raises UserError where the scores cannot be read."""
    by_metric, evaluation = per_image(read_scores(scores_folder)), read_evaluation(scores_folder)
    found: dict[Path, dict[str, float]] = {}
    for method in evaluation.get("methods", {}):
        for image, item in scored_items(evaluation, method):
            scores = {
                metric: methods[method][image]
                for metric, methods in by_metric.items()
                if image in methods.get(method, {})
            }
            if item.run and scores:
                found.setdefault(item.run.folder.resolve(), {}).update(scores)
    return found


def scored_items(evaluation: Mapping[str, Any], method: str) -> Iterator[tuple[str, Item]]:
    """Yields (image, what a method left behind for it), as far as it is still there.

    Methods that are one sweep's runs, told apart by a setting, share a path: then a run is the method's whose name is
    one of its settings.
    """
    methods = evaluation.get("methods", {})
    try:
        path, images = methods[method]["path"], set(methods[method]["images"])
        items = examine(method, path).items
    except (UserError, KeyError, TypeError):
        return
    shared = sum(entry.get("path") == path for entry in methods.values()) > 1
    for item in items:
        if shared and item.run and method not in settings(item.run.config).values():
            continue
        plain = item.image.removesuffix(f" ({item.path.name})")  # a name may need its folder only among all methods'
        for name in (f"{plain} ({item.path.name})", plain):
            if name in images:
                yield name, item
                break

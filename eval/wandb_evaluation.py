"""An evaluation at Weights & Biases: its scores as a table, the table's figures as the summary, some pictures.

It is one W&B run of the job type `eval`, in the group of the sweep that it scores; evaluating again goes on with it.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from eval.compare.scored_runs import scored_items
from eval.protocols.file_names import is_picture
from eval.scoring.scores import COLUMNS, Score, read_evaluation, read_scores
from eval.tables.statistics import Interval
from worldgen.runs.wandb_runs import expect_wandb, one_line, wandb_run

JOB_TYPE = "eval"
PICTURES_PER_METHOD = 3
_log = logging.getLogger("worldgen")


def log_evaluation(
    scores_folder: Path,
    figures: Mapping[str, Mapping[str, Interval]],
    group: str | None = None,
    project: str | None = "worldgen",
    entity: str | None = None,
) -> str | None:
    """Logs the evaluation in `scores_folder` (scores.csv, evaluation.json, *.md); returns the W&B run's id.

    figures: those of its table, {method: {metric: mean and interval}}, over the images that may be compared. group: the
    sweep's; None = the name of the folder that holds `scores_folder`. Where W&B cannot be had, a warning is
    logged and None comes back. Raises UserError where there are no scores, or wandb is not installed.
    """
    expect_wandb("logger=wandb")
    rows, evaluation = read_scores(scores_folder), read_evaluation(scores_folder)
    place = scores_folder.resolve()
    try:
        with wandb_run(
            scores_folder,
            job_type=JOB_TYPE,
            group=group or place.parent.name or "worldgen",
            name=f"{place.name}/{JOB_TYPE}",
            config=evaluation,
            project=project,
            entity=entity,
        ) as run:
            run.log(_media(scores_folder, rows, evaluation))
            run.summary.update(_summary(figures))
            return run.id
    except Exception as error:
        _log.warning("W&B: %s was not logged: %s: %s", scores_folder, type(error).__name__, one_line(error))
        return None


def pictures_of(evaluation: Mapping[str, Any], most: int = PICTURES_PER_METHOD) -> dict[str, dict[str, Path]]:
    """{method: {image: picture}}, its first ones that are still there; run folders give their panoramas."""
    found: dict[str, dict[str, Path]] = {}
    for method in evaluation.get("methods", {}):
        some: dict[str, Path] = {}
        for image, item in scored_items(evaluation, method):
            path = item.run.panorama if item.run else item.path
            if path and is_picture(path):
                some.setdefault(image, path)
        if some:
            found[method] = dict(islice(some.items(), most))
    return found


def _media(folder: Path, rows: Sequence[Score], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    import wandb

    table = wandb.Table(columns=list(COLUMNS), data=[[*row.key, row.value] for row in rows])
    media: dict[str, Any] = {"scores": table}
    for path in sorted(folder.glob("*.md")):
        media[f"tables/{path.stem}"] = wandb.Html(_preformatted(path.read_text(encoding="utf-8")))
    for method, pictures in pictures_of(evaluation).items():
        media[f"pictures/{method}"] = [wandb.Image(str(path), caption=image) for image, path in pictures.items()]
    return media


def _preformatted(markdown: str) -> str:
    return f"<pre>{escape(markdown)}</pre>"


def _summary(figures: Mapping[str, Mapping[str, Interval]]) -> dict[str, float]:
    """`mean/<method>/<metric>`, and so low, high and n; what is not finite is left out, for W&B's charts cannot show
    it."""
    summary: dict[str, float] = {}
    for method, metrics in figures.items():
        for metric, found in metrics.items():
            values = {"mean": found.mean, "low": found.low, "high": found.high, "n": found.count}
            summary |= {f"{name}/{method}/{metric}": value for name, value in values.items() if math.isfinite(value)}
    return summary

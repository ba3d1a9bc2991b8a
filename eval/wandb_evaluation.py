"""An evaluation at Weights & Biases: a run of its own, and scores for the runs of the worlds that it looked at.

Its run has the job type `eval` and the group of the sweep that it scores: the scores as a table, means with their
intervals, paired differences and figures. Every world of it that W&B knows has its run resumed, and gets
`score/<metric>`.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.compare.scored_runs import RunScores, scored_items, scores_of_runs
from eval.protocols.file_names import is_picture
from eval.scoring.scores import COLUMNS, EVALUATION_FILE, SCORES_FILE, Score, read_evaluation, read_scores
from eval.tables.build import Table
from eval.tables.statistics import Interval
from worldgen.runs.provenance import git_commit, machine, package_versions
from worldgen.runs.wandb_artifacts import ARTIFACT, log_outputs
from worldgen.runs.wandb_identity import Destination, WandbIdentity, kept, new_id, state_of, taken_up
from worldgen.runs.wandb_names import ABOUT, EVALUATION, WORLD, score_key, tags_of
from worldgen.runs.wandb_session import expect_wandb, wandb_session

if TYPE_CHECKING:
    import wandb

PICTURES_PER_METHOD = 3
_INTERVAL = ("mean", "low", "high", "n")
_log = logging.getLogger("worldgen")
_Worlds = Mapping[Path, tuple[WandbIdentity, RunScores]]


def log_evaluation(
    scores_folder: Path,
    table: Table,
    note: Callable[[str], None] = lambda line: None,
    destination: Destination | None = None,
    group: str | None = None,
) -> str:
    """Logs the evaluation in `scores_folder` (scores.csv, evaluation.json, *.md); returns the id of its W&B run.

    table: of these scores. note: prints a line for the person; also where W&B cannot be had. destination, group: None =
    as the environment says, or else those of the worlds that are scored, where they have the same; else the name of the
    folder that holds `scores_folder`. What W&B has already is not logged again. Raises UserError where there are no
    scores, or wandb is not installed.
    """
    expect_wandb("wandb=true")
    rows, evaluation = read_scores(scores_folder), read_evaluation(scores_folder)
    scored = scores_of_runs(scores_folder)
    worlds = {folder: (found, scored[folder]) for folder in sorted(scored) if (found := kept(folder, WORLD))}
    where = (destination or Destination()).settled(_shared(found.project for found, _ in worlds.values()))
    group = group or _shared(found.group for found, _ in worlds.values()) or scores_folder.resolve().parent.name
    protocol = str(evaluation.get("protocol", {}).get("name", "unknown"))
    wanted = WandbIdentity(
        new_id(),
        EVALUATION,
        f"{table.name} · scored by {protocol}",
        group or "worldgen",
        tags_of(protocol, table.name),
        where.project,
        where.entity,
    )
    identity = taken_up(scores_folder, wanted)
    state = state_of([[*row.key, str(row.value)] for row in rows], repr(table))
    whole = True
    if identity.logged.get(EVALUATION) != state:
        about = {"git_commit": git_commit(), "versions": package_versions(), "machine": machine()}
        config = {**evaluation, ABOUT: about | {"folder": str(scores_folder.resolve())}}
        with wandb_session(scores_folder, identity, where, config, note) as session:
            session.do(lambda run: _fill(run, scores_folder, rows, evaluation, table, worlds), EVALUATION, state)
        whole = not session.failed
    if whole:  # each further try would cost its time-out
        _log_worlds(worlds, len(scored), protocol, identity.id, where, note)
    return identity.id


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


def _log_worlds(
    worlds: _Worlds,
    scored: int,
    protocol: str,
    evaluation_id: str,
    where: Destination,
    note: Callable[[str], None],
) -> None:
    """Resumes each world's run, which goes on where it is, whatever project the evaluation's is in."""
    lines: list[str] = []
    added = 0
    for folder, (identity, found) in worlds.items():
        scores = {score_key(protocol, metric): found.scores.get(metric) for metric in (*found.scores, *found.lost)}
        what, state = f"scores/{protocol}", state_of(scores)
        if identity.logged.get(what) == state:
            continue
        told = scores | {f"evaluated/{protocol}": evaluation_id}
        with wandb_session(folder, identity, where, {}, lines.append) as session:
            session.do(partial(_add, told), what, state)
        if troubles := [line for line in lines if not line.startswith("W&B: ")]:
            note(troubles[-1])
            return
        added += 1
    if added:
        unknown = scored - len(worlds)
        others = f"; {unknown} more were not logged by logger=wandb" if unknown else ""
        places = " ".join(sorted({f"{folder.parent}/*/wandb" for folder in worlds}))
        later = f"; later: wandb sync {places}" if any("offline" in line for line in lines) else ""
        note(f"W&B: scores added to the runs of {added} worlds{others}{later}")


def _add(told: Mapping[str, Any], run: "wandb.Run") -> None:
    run.summary.update(dict(told))


def _fill(
    run: "wandb.Run",
    folder: Path,
    rows: Sequence[Score],
    evaluation: Mapping[str, Any],
    table: Table,
    worlds: _Worlds,
) -> None:
    run.log(_media(folder, rows, evaluation, table))
    run.summary.update(_summary(table))
    looked_at = [
        (identity, what.removeprefix(ARTIFACT))
        for identity, _ in worlds.values()
        for what in identity.logged
        if what.startswith((f"{ARTIFACT}panorama-", f"{ARTIFACT}splats-"))
    ]
    if looked_at:  # artifacts were asked for
        for identity, name in [] if run.offline else looked_at:
            place = "/".join(filter(None, (identity.entity, identity.project, name)))
            run.use_artifact(f"{place}:latest")
        files = [path for name in (SCORES_FILE, EVALUATION_FILE) if (path := folder / name).is_file()]
        log_outputs(run, "scores", files, {"made_from": [name for _, name in looked_at]})


def _media(folder: Path, rows: Sequence[Score], evaluation: Mapping[str, Any], table: Table) -> dict[str, Any]:
    import wandb

    figures = table.figures()
    media: dict[str, Any] = {
        "scores": wandb.Table(columns=list(COLUMNS), data=[[*row.key, row.value] for row in rows]),
        "intervals": wandb.Table(
            columns=["method", "metric", *_INTERVAL],
            data=[[m, name, *_numbers(found)] for m, of_m in figures.items() for name, found in of_m.items()],
        ),
    }
    differences = [
        [each.method, each.baseline, name, *_numbers(found)]
        for each in table.differences
        for name, found in each.metrics.items()
    ]
    if differences:
        media["differences"] = wandb.Table(columns=["method", "baseline", "metric", *_INTERVAL], data=differences)
    for metric in table.columns:
        means = {method: found[metric].mean for method, found in figures.items() if metric in found}
        if bars := [[method, mean] for method, mean in means.items() if math.isfinite(mean)]:
            data = wandb.Table(columns=["method", metric], data=bars)
            media[f"figures/{metric}"] = wandb.plot.bar(data, "method", metric, title=table.columns[metric].label)
    for path in sorted(folder.glob("*.md")):
        media[f"tables/{path.stem}"] = wandb.Html(_preformatted(path.read_text(encoding="utf-8")))
    for method, pictures in pictures_of(evaluation).items():
        media[f"pictures/{method}"] = [wandb.Image(str(path), caption=image) for image, path in pictures.items()]
    return media


def _preformatted(markdown: str) -> str:
    return f"<pre>{escape(markdown)}</pre>"


def _summary(table: Table) -> dict[str, float]:
    """`mean/<method>/<metric>`, and so low, high and n, and `difference_mean/...` of paired differences; what is not
    finite is left out, for W&B's charts cannot show it."""
    found = {
        f"{name}/{method}/{metric}": value
        for method, metrics in table.figures().items()
        for metric, interval in metrics.items()
        for name, value in zip(_INTERVAL, _numbers(interval), strict=True)
    }
    found |= {
        f"difference_{name}/{each.method}/{metric}": value
        for each in table.differences
        for metric, interval in each.metrics.items()
        for name, value in zip(_INTERVAL, _numbers(interval), strict=True)
    }
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _numbers(found: Interval) -> tuple[float, float, float, int]:
    return found.mean, found.low, found.high, found.count


def _shared(values: Iterable[str | None]) -> str | None:
    """The one value that all have; None where they differ or there are none."""
    found = set(values)
    return found.pop() if len(found) == 1 else None

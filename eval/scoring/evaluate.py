"""One evaluation: what methods left behind, looked at as a protocol says, scored, and written down.

evaluate(protocol, outputs(protocol, {"ours": "runs/*"}, None, None), metrics, Path("evaluations/panorama"))
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.metrics.base import Metric, SetMetric, is_set_metric
from eval.protocols.base import Collected, Protocol
from eval.protocols.methods import by_config
from eval.protocols.outputs import Output
from eval.scoring.cache import ScoreCache
from eval.scoring.coverage import coverage_notes, coverage_record
from eval.scoring.expected import expect_shared_images, expect_shared_names, lost_pictures, unscored
from eval.scoring.kept_views import VIEWS_DIR
from eval.scoring.score import Scored, score
from eval.scoring.scores import Score
from eval.scoring.set_metrics import score_sets
from eval.scoring.store import add, expect_room
from worldgen.errors import UserError
from worldgen.progress import Track, untracked

OURS, RUNS = "ours", "runs"  # the method that runs= make, and its name where a method has the first one


def outputs(protocol: Protocol, methods: Mapping[str, str], runs: str | None, group_by: str | None) -> list[Output]:
    """What there is to look at. methods: by name; runs: our run folders, one method or, with `group_by`, several.

    Methods that are a single file (or run folder) each are taken as one image, whatever they are called. Raises
    UserError where a path holds nothing that can be scored, or two methods have one name.
    """
    found = [protocol.examine(name, path) for name, path in methods.items()]
    if runs is not None:
        ours = protocol.examine(RUNS if OURS in methods else OURS, runs)
        found += by_config(ours, group_by).values() if group_by else [ours]
    names = [output.method for output in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"methods.{twice[0]}: given twice, wanted another name")
    return _singles_paired(found)


def evaluate(
    protocol: Protocol,
    found: Sequence[Output],
    metrics: Sequence[Metric | SetMetric],
    out: Path,
    processes: int = 1,
    cache: ScoreCache | None = None,
    track: Track = untracked,
    allow_missing: bool = False,
    keep_views: bool = False,
) -> tuple[list[Score], dict[str, Any]]:
    """Scores the outputs, and adds them to scores.csv and evaluation.json in `out`; returns what then is in these.

    allow_missing: methods need not have the same views; keep_views: write what is scored to `out`, too. Raises
    UserError, before anything is scored, where `out` cannot take the scores or the methods have no names in common, and
    where nothing has a score in the end.
    """
    collected = [protocol.collect(output) for output in found]
    evaluation = {
        "protocol": protocol.settings() | {"metrics": [metric.name for metric in metrics]},
        "metrics": {metric.name: _metric_record(metric) for metric in metrics},
        "methods": {part.output.method: part.output.record() for part in collected},
    }
    expect_shared_names(collected, allow_missing)
    stored = expect_room(out, evaluation)
    expect_shared_images({part.output.method: part.output.images for part in collected if part.pictures} | stored)
    single = [metric for metric in metrics if not is_set_metric(metric)]
    pictures = [picture for part in collected for picture in part.pictures]
    lost = [row for part, output in zip(collected, found, strict=True) for row in lost_pictures(part, output, metrics)]
    scored = score(pictures, single, cache, processes, track, out / VIEWS_DIR if keep_views else None)
    of_sets = [metric for metric in metrics if is_set_metric(metric)]
    whole = score_sets(pictures, of_sets, track, lost, allow_missing)
    missing = unscored(pictures, single, scored)
    rows = [*scored.rows, *missing, *whole.scored.rows]
    failed = _without_number(scored.rows) | scored.failed | whole.scored.failed
    _expect_scores(rows, failed, evaluation["metrics"])
    applying = {(row.method, row.metric) for row in [*scored.rows, *missing]}
    rows += [row for row in lost if (row.method, row.metric) in applying]
    evaluation["methods"] = {
        part.output.method: _method_record(part, failed, scored) | _sets(whole.sets.get(part.output.method))
        for part in collected
    }
    return add(out, rows, evaluation)


def score_part(
    protocol: Protocol,
    found: Sequence[Output],
    metrics: Sequence[Metric | SetMetric],
    part: int,
    parts: int,
    processes: int,
    cache: ScoreCache | None,
    track: Track = untracked,
) -> None:
    """Scores one of so many parts of the outputs into the cache, where `evaluate` finds them: whole images, in turn.
    Metrics of whole sets are left to it."""
    collected = [protocol.collect(output) for output in found]
    pictures = [picture for output in collected for picture in output.pictures]
    images = {image: number for number, image in enumerate(dict.fromkeys((p.method, p.image) for p in pictures))}
    mine = [picture for picture in pictures if images[picture.method, picture.image] % parts == part]
    score(mine, [metric for metric in metrics if not is_set_metric(metric)], cache, processes, track)


def _singles_paired(found: Sequence[Output]) -> list[Output]:
    """The outputs, where each is a single file or run: all by one image's name, a run's if there is one."""
    singles = [output for output in found if [item.path.name for item in output.items] == [Path(output.path).name]]
    names = {output.items[0].image for output in singles}
    if len(singles) < len(found) or len(names) < 2:
        return list(found)
    name = next((output.items[0] for output in singles if output.items[0].run), singles[0].items[0]).image
    return [
        output if (item := output.items[0]).image == name else _renamed(output, replace(item, image=name), item.image)
        for output in singles
    ]


def _renamed(output: Output, item: Any, before: str) -> Output:
    note = f"a single file each: {before} is taken for {item.image}"
    return replace(output, items=(item,), notes=(*output.notes, note))


def _expect_scores(rows: Iterable[Score], failed: Mapping[str, str], metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UserError where there is not one score."""
    if any(not math.isnan(row.value) for row in rows):
        return
    whys = [f"{name}: {record['unavailable']}" for name, record in metrics.items() if "unavailable" in record]
    whys = [f"{name}: {why}" for name, why in failed.items()] + whys or ["no picture has what the metrics compare with"]
    more = f" (and {len(whys) - 1} more)" if whys[1:] else ""
    raise UserError(f"metrics: nothing was scored, wanted one score at least; {' '.join(whys[0].split())}{more}")


def _without_number(rows: Iterable[Score]) -> dict[str, str]:
    """Pictures of which a metric made something that is no number, with the reason as far as it is known."""
    return {
        f"{row.method}/{row.image}/{row.view}": f"{row.metric}: no number comes out"
        for row in rows
        if math.isnan(row.value)
    }


def _metric_record(metric: Metric | SetMetric) -> dict[str, Any]:
    if why := metric.unavailable():
        return {"better": metric.better, "versions": {}, "unavailable": why}
    return {"better": metric.better, "versions": metric.versions()}


def _method_record(part: Collected, failed: Mapping[str, str], scored: Scored) -> dict[str, Any]:
    """A method's record, with the pictures that turned out to be broken when they were scored."""
    prefix = f"{part.output.method}/"
    own = {name.removeprefix(prefix): why for name, why in failed.items() if name.startswith(prefix)}
    covered = coverage_record(part.output.method, scored.coverage)
    notes = (*part.output.notes, *coverage_notes(part.output.method, covered))
    record = replace(part.output, notes=notes).record()
    return record | {"failed": record["failed"] | own} | covered


def _sets(sets: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"sets": dict(sets)} if sets else {}

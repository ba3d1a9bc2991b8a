"""One evaluation: what methods left behind, looked at as a protocol says, scored, and written down.

evaluate(protocol, {"ours": "runs/*"}, metrics, Path("evaluations/panorama"))
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.cache import ScoreCache
from eval.methods import Output, by_config
from eval.metrics.base import Metric, SetMetric
from eval.protocols import Collected, Protocol
from eval.scores import Score, write_scores
from eval.scoring import Scored, score
from eval.whole_sets import score_sets
from worldgen.errors import UserError
from worldgen.progress import Track, untracked


def outputs(protocol: Protocol, methods: Mapping[str, str], runs: str | None, group_by: str | None) -> list[Output]:
    """What there is to look at. methods: by name; runs: our run folders, one method or, with `group_by`, several.

    Raises UserError where a path holds nothing that can be scored, or two methods have one name.
    """
    found = [protocol.examine(name, path) for name, path in methods.items()]
    if runs is not None:
        ours = protocol.examine("ours", runs)
        found += by_config(ours, group_by).values() if group_by else [ours]
    names = [output.method for output in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"methods.{twice[0]}: given twice, wanted another name")
    return found


def evaluate(
    protocol: Protocol,
    found: Sequence[Output],
    metrics: Sequence[Metric | SetMetric],
    out: Path,
    processes: int = 1,
    cache: ScoreCache | None = None,
    track: Track = untracked,
) -> tuple[list[Score], dict[str, Any]]:
    """Scores the outputs; writes scores.csv and evaluation.json into `out`, and returns their contents."""
    collected = [protocol.collect(output) for output in found]
    pictures = [picture for part in collected for picture in part.pictures]
    single = [metric for metric in metrics if not hasattr(metric, "features")]
    scored = score(pictures, single, cache, processes, track)
    whole = score_sets(pictures, [metric for metric in metrics if hasattr(metric, "features")], track)
    rows = scored.rows + whole.rows
    scored = replace(scored, failed=scored.failed | whole.failed, unavailable=scored.unavailable | whole.unavailable)
    evaluation = {
        "protocol": protocol.settings() | {"metrics": [metric.name for metric in metrics]},
        "metrics": {metric.name: _metric_record(metric, scored.unavailable) for metric in metrics},
        "methods": {part.output.method: _method_record(part, scored) for part in collected},
    }
    write_scores(out, rows, evaluation)
    return rows, evaluation


def _metric_record(metric: Metric | SetMetric, unavailable: Mapping[str, str]) -> dict[str, Any]:
    if metric.name in unavailable:
        return {"better": metric.better, "versions": {}, "unavailable": unavailable[metric.name]}
    return {"better": metric.better, "versions": metric.versions()}


def _method_record(part: Collected, scored: Scored) -> dict[str, Any]:
    """A method's record, with the pictures that turned out to be broken when they were scored."""
    prefix = f"{part.output.method}/"
    failed = {name.removeprefix(prefix): why for name, why in scored.failed.items() if name.startswith(prefix)}
    record = part.output.record()
    return record | {"failed": record["failed"] | failed}

"""Scores of whole sets of pictures: FID and KID between a method's views and the true ones."""

from collections.abc import Hashable, Sequence
from itertools import groupby
from operator import attrgetter

import torch
from torch import Tensor

from eval.metrics.base import SetMetric
from eval.pictures import Picture, Source
from eval.scores import WHOLE_SET, Score
from eval.scoring import Scored
from worldgen.errors import UserError
from worldgen.progress import Track

_AT_ONCE = 16


def score_sets(pictures: Sequence[Picture], metrics: Sequence[SetMetric], track: Track) -> Scored:
    """One row for each method and metric, over its pictures that have a true one."""
    unavailable = {metric.name: why for metric in metrics if (why := metric.unavailable())}
    there = [metric for metric in metrics if metric.name not in unavailable]
    rows: list[Score] = []
    failed: dict[str, str] = {}
    for method, group in groupby(pictures, key=attrgetter("method")):
        pairs = [(picture.rgb, picture.truth) for picture in group if picture.truth is not None]
        known: dict[Hashable, list[Tensor]] = {}  # FID and KID look at the same features
        for metric in there if pairs else ():
            try:
                if metric.network not in known:
                    known[metric.network] = [_features(metric, side, track) for side in zip(*pairs, strict=True)]
                value = metric.distance(*known[metric.network])
            except UserError as error:
                failed[f"{method}/{WHOLE_SET}/{metric.name}"] = str(error)
            else:
                rows.append(Score(method, WHOLE_SET, WHOLE_SET, metric.name, value))
    return Scored(rows, failed, unavailable)


def _features(metric: SetMetric, sources: Sequence[Source], track: Track) -> Tensor:
    """[N, D]."""
    batches = [sources[start : start + _AT_ONCE] for start in range(0, len(sources), _AT_ONCE)]
    parts = [
        metric.features([source.load() for source in batch])
        for batch in track(batches, len(batches), f"features for {metric.name}")
    ]
    return torch.cat(parts)

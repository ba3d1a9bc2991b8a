"""Scores of whole sets of pictures: FID and KID between a method's views and the true ones.

The set is the same for every method: the views of the images that all of them have whole. A distance over fewer views
is another quantity (FID falls as the set grows), and one over the views that came out well is a better one.
"""

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eval.metrics.base import SetMetric
from eval.protocols.pictures import Picture
from eval.scoring.completeness import compare_views, pairable
from eval.scoring.flat import expect_texture
from eval.scoring.score import Scored
from eval.scoring.scores import WHOLE_SET, Score
from worldgen.errors import UserError
from worldgen.progress import Track

_AT_ONCE = 16


@dataclass(frozen=True)
class ScoredSets:
    """sets: {method: {metric: what was looked at}}: images, views, their digest, and whether the method lost none."""

    scored: Scored
    sets: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Features:
    """By a picture's place in the list. failed: why others have none."""

    ours: dict[int, Tensor]
    truth: dict[int, Tensor]
    failed: dict[int, str]


def score_sets(
    pictures: Sequence[Picture],
    metrics: Sequence[SetMetric],
    track: Track,
    lost: Sequence[Score] = (),
    allow_missing: bool = False,
) -> ScoredSets:
    """One row for each method and metric, over the pictures that have a true one and that every method has.

    lost: pictures that could not even be listed, as NaN. allow_missing: over the views that all methods have.
    """
    unavailable = {metric.name: why for metric in metrics if (why := metric.unavailable())}
    found = ScoredSets(Scored([], {}, unavailable))
    pictures = [picture for picture in pictures if picture.truth is not None]
    known: dict[Hashable, _Features] = {}  # FID and KID look at the same features
    for metric in metrics:
        if metric.name not in unavailable and pictures:
            if metric.network not in known:
                known[metric.network] = _features(metric, pictures, track)
            _score_set(metric, pictures, known[metric.network], lost, allow_missing, found)
    return found


def _score_set(
    metric: SetMetric,
    pictures: Sequence[Picture],
    features: _Features,
    lost: Sequence[Score],
    allow_missing: bool,
    found: ScoredSets,
) -> None:
    """Enters one metric's distances of all methods into `found`."""
    marks = [
        Score(picture.method, picture.image, picture.view, metric.name, math.nan if place in features.failed else 0.0)
        for place, picture in enumerate(pictures)
    ]
    listed = {mark.key for mark in marks}
    marks += [
        mark
        for mark in (Score(row.method, row.image, row.view, metric.name, math.nan) for row in lost)
        if mark.key not in listed
    ]
    for place, why in features.failed.items():
        picture = pictures[place]
        found.scored.failed[f"{picture.method}/{picture.image}/{picture.view}"] = why
    incomplete = compare_views(marks)[metric.name].lost
    for method, views in pairable(marks, allow_missing).items():
        places = [
            place
            for place, picture in enumerate(pictures)
            if picture.method == method and (picture.image, picture.view) in views
        ]
        if not places:
            continue
        try:
            sides = (torch.stack([side[place] for place in places]) for side in (features.ours, features.truth))
            value = metric.distance(*sides)
        except UserError as error:
            found.scored.failed[f"{method}/{WHOLE_SET}/{metric.name}"] = str(error)
        else:
            found.scored.rows.append(Score(method, WHOLE_SET, WHOLE_SET, metric.name, value))
            record = _record(views) | {"complete": method not in incomplete}
            found.sets.setdefault(method, {})[metric.name] = record


def _record(views: set[tuple[str, str]]) -> dict[str, Any]:
    text = "\n".join("\t".join(view) for view in sorted(views))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return {"images": len({image for image, _ in views}), "views": len(views), "digest": digest}


def same_sets(sets: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether one metric looked at the same views of each method. sets: {method: its record}."""
    return len({record.get("digest") for record in sets.values()}) < 2


def _features(metric: SetMetric, pictures: Sequence[Picture], track: Track) -> _Features:
    """Of every picture and of its true one, each [D]."""
    found = _Features({}, {}, {})
    batches = [range(start, min(start + _AT_ONCE, len(pictures))) for start in range(0, len(pictures), _AT_ONCE)]
    for batch in track(batches, len(batches), f"features for {metric.name}"):
        loaded: dict[int, tuple[Tensor, Tensor]] = {}
        for place in batch:
            picture = pictures[place]
            assert picture.truth is not None
            try:
                loaded[place] = expect_texture(picture.rgb.load()), picture.truth.load()
            except UserError as error:
                found.failed[place] = str(error)
        if loaded:
            for side, index in ((found.ours, 0), (found.truth, 1)):
                side.update(zip(loaded, metric.features([pair[index] for pair in loaded.values()]), strict=True))
    return found

"""Which images may be compared: those of which every method has a score of the same views.

A view that is missing, unreadable, of a single colour or without a score makes its image incomplete. The mean over the
views that are left is a mean of other things than the other methods' is, and mostly a better one: what is hard to show
is what breaks. So an incomplete image has no value, and a method that has one is not ranked.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from eval.scoring.scores import WHOLE_SET, Score
from eval.tables.statistics import common_images

ALL_VIEWS = ""  # the view of an image of which nothing could be looked at
Views = dict[str, dict[str, dict[str, float]]]
"""{method: {image: {view: value}}} of one metric; a view that should have a score and has none is NaN."""


@dataclass(frozen=True)
class Compared:
    """One metric's values. values: {method: {image: mean over its views}}, of the images that may be compared; common:
    those that all methods with values have; lost: {method: {image: its views without a score}}; unpaired: images whose
    views have no name in common, each averaged over its own (with `allow_missing` alone); ranked: the methods that may
    be best."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    common: tuple[str, ...] = ()
    lost: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    unpaired: tuple[str, ...] = ()
    ranked: frozenset[str] = frozenset()

    def paired(self) -> dict[str, dict[str, float]]:
        """{method: {image: value}} over the common images; without the methods that have no value at all."""
        return {
            method: {image: images[image] for image in self.common} for method, images in self.values.items() if images
        }


def compare_views(rows: Iterable[Score], allow_missing: bool = False) -> dict[str, Compared]:
    """{metric: what may be compared}, of scores of single pictures; those of whole sets are left out.

    A view is wanted of a method where it was to be scored (a row, NaN where that failed), or where any other method
    has a score of it. allow_missing: images are averaged over the views that all methods have, whatever is lost.
    """
    found: dict[str, Views] = {}
    for row in sorted(rows, key=lambda row: row.key):
        if row.image != WHOLE_SET:
            found.setdefault(row.metric, {}).setdefault(row.method, {}).setdefault(row.image, {})[row.view] = row.value
    return {metric: _compared(views, allow_missing) for metric, views in found.items()}


def pairable(rows: Iterable[Score], allow_missing: bool = False) -> dict[str, set[tuple[str, str]]]:
    """{method: (image, view) of what a metric of whole sets may look at}: for every method the same, where any may be
    compared. rows: of one metric, NaN where a picture cannot be loaded."""
    rows = list(rows)
    there = _there(rows)
    (compared,) = compare_views(rows, allow_missing).values() if rows else [Compared()]
    found = {}
    for method, images in compared.paired().items():
        mine = {image: there[method][image] for image in images}
        if allow_missing:
            others = [there[other] for other in compared.paired()]
            mine = {image: _shared_views([other[image] for other in others]) or own for image, own in mine.items()}
        found[method] = {(image, view) for image, views in mine.items() for view in views}
    return found


def _there(rows: Iterable[Score]) -> dict[str, dict[str, set[str]]]:
    """{method: {image: views with a score}}."""
    found: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        if not math.isnan(row.value):
            found.setdefault(row.method, {}).setdefault(row.image, set()).add(row.view)
    return found


def _compared(views: Views, allow_missing: bool) -> Compared:
    scored = {
        method: {image: _scored(of_image) for image, of_image in images.items()} for method, images in views.items()
    }
    taking_part = [method for method, images in scored.items() if any(images.values())]
    wanted: dict[str, set[str]] = {}
    for method in taking_part:
        for image, of_image in scored[method].items():
            wanted.setdefault(image, set()).update(of_image)
    lost = {method: _lost(views[method], scored[method], wanted if method in taking_part else {}) for method in views}
    if allow_missing:
        values, unpaired = _over_shared_views({method: scored[method] for method in taking_part})
        ranked = frozenset(taking_part)
    else:
        values, unpaired = {m: _over_all_views(scored[m], lost[m]) for m in taking_part}, ()
        ranked = frozenset(method for method in taking_part if not lost[method])
    common = common_images(images for images in values.values() if images)
    return Compared(values, tuple(common), {m: images for m, images in lost.items() if images}, unpaired, ranked)


def _scored(views: Mapping[str, float]) -> dict[str, float]:
    return {view: value for view, value in views.items() if not math.isnan(value)}


def _lost(
    tried: Mapping[str, Mapping[str, float]],
    scored: Mapping[str, Mapping[str, float]],
    wanted: Mapping[str, Iterable[str]],
) -> dict[str, list[str]]:
    """{image: the views that one method was to have, by itself or by the others, and has not}."""
    missing = {
        image: {*tried.get(image, ()), *wanted.get(image, ())} - set(scored.get(image, ()))
        for image in sorted({*tried, *wanted})
    }
    return {image: sorted(views - {ALL_VIEWS} or views) for image, views in missing.items() if views}


def _over_all_views(scored: Mapping[str, Mapping[str, float]], lost: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """{image: mean over its views}, where none is lost."""
    return {image: mean(list(views.values())) for image, views in scored.items() if views and image not in lost}


def _over_shared_views(
    scored: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """{method: {image: mean over the views that all methods with that image have}}, and the images without such."""
    images = sorted({image for of_method in scored.values() for image, views in of_method.items() if views})
    values: dict[str, dict[str, float]] = {method: {} for method in scored}
    unpaired = []
    for image in images:
        having = {method: of_method[image] for method, of_method in scored.items() if of_method.get(image)}
        shared = _shared_views(having.values())
        if not shared:
            unpaired.append(image)
        for method, views in having.items():
            values[method][image] = mean([views[view] for view in sorted(shared or views)])
    return values, tuple(unpaired)


def _shared_views(views: Iterable[Iterable[str]]) -> set[str]:
    return set(common_images(views))


def mean(values: Sequence[float]) -> float:
    """Of one value at least, the same in any order; infinite where one is."""
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)

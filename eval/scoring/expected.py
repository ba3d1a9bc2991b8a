"""What was to be scored: views that failed, files that could not be read, whether methods can be compared at all."""

import math
from collections.abc import Iterable, Mapping, Sequence

from eval.metrics.base import Metric, SetMetric
from eval.protocols.base import Collected
from eval.protocols.file_names import without_suffix
from eval.protocols.methods import UNKNOWN
from eval.protocols.outputs import Output
from eval.protocols.pairs import TRUE
from eval.protocols.pictures import Picture
from eval.scoring.completeness import ALL_VIEWS
from eval.scoring.jobs import companion_of
from eval.scoring.score import Scored
from eval.scoring.scores import Score
from eval.tables.statistics import common_images
from worldgen.errors import UserError

NO_TRUTH = "no true "  # begins why a picture cannot be scored that has nothing to be compared with: no method's fault
_NAMES_SHOWN, _METHODS_SHOWN = 3, 4


def unscored(pictures: Sequence[Picture], metrics: Sequence[Metric], scored: Scored) -> list[Score]:
    """NaN for each picture that a metric was to score and did not. A picture without what the metric compares with (a
    true view, a photo, a text) was not to be scored by it."""
    known = {row.key for row in scored.rows}
    wanted = [
        Score(picture.method, picture.image, picture.view, metric.name, math.nan)
        for picture in pictures
        for metric in metrics
        if metric.name not in scored.unavailable and companion_of(picture, metric.needs) is not None
    ]
    return [row for row in wanted if row.key not in known]


def lost_pictures(part: Collected, found: Output, metrics: Sequence[Metric | SetMetric]) -> list[Score]:
    """NaN by each metric for whatever a method has that could not even be listed: unreadable files, runs that failed.

    found: the method's output before the protocol looked at it.
    """
    if found.method == UNKNOWN:
        return []
    items = {item.label: (item.image, item.frame) for item in found.items}
    listed = {(picture.image, picture.view) for picture in part.pictures}
    lost = {
        items.get(name) or _by_name(name, found)
        for name, why in part.output.failed.items()
        if not why.startswith(NO_TRUTH) and not (part.output.kind != "runs" and name.startswith(f"{TRUE}/"))
    }
    return [
        Score(found.method, image, view, metric.name, math.nan)
        for image, view in sorted(lost - listed)
        for metric in metrics
    ]


def _by_name(name: str, found: Output) -> tuple[str, str]:
    """Image and view of a file that could not be read."""
    plain = without_suffix(name)
    image, _, view = plain.partition("/") if found.kind == "frames" else (plain, "", ALL_VIEWS)
    return image, view


def expect_shared_images(images: Mapping[str, Iterable[str]]) -> None:
    """Raises UserError where several methods have images, and none of one name. images: by method."""
    some = {method: set(found) for method, found in images.items() if method != UNKNOWN and found}
    if len(some) > 1 and not common_images(some.values()):
        raise UserError(f"methods: no image of one name in all, wanted the same file names; {_shown(some)}")


def expect_shared_names(collected: Sequence[Collected], allow_missing: bool) -> None:
    """Raises UserError where no image, or no view of one, is common to all methods that have any."""
    views = {
        part.output.method: {(picture.image, picture.view) for picture in part.pictures}
        for part in collected
        if part.pictures and part.output.method != UNKNOWN
    }
    if len(views) < 2:
        return
    images = {method: {image for image, _ in found} for method, found in views.items()}
    expect_shared_images(images)
    shared = set(common_images(images.values()))
    theirs = {method: {view for view in found if view[0] in shared} for method, found in views.items()}
    if not allow_missing and not set.intersection(*theirs.values()):
        named = {method: {"/".join(view) for view in found} for method, found in theirs.items()}
        raise UserError(
            "methods: no view of one name in all, wanted the same views (allow_missing=true averages each image over "
            f"whatever views it has); {_shown(named)}"
        )


def _shown(names: Mapping[str, Iterable[str]]) -> str:
    """Some names of each method."""
    parts = []
    for method, found in list(names.items())[:_METHODS_SHOWN]:
        some = sorted(found)
        parts.append(f"{method} has {', '.join(some[:_NAMES_SHOWN])}{', ...' * (len(some) > _NAMES_SHOWN)}")
    return "; ".join(parts) + ("; ..." if len(names) > _METHODS_SHOWN else "")

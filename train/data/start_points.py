"""Points to start from where a folder brings none: triangulated from the pictures, or else drawn at random."""

import logging
from collections.abc import Sequence
from pathlib import Path

from train.data.empty_space import within_silhouettes
from train.data.point_files import Points
from train.data.random_points import random_points
from train.data.triangulate import FEWEST, can_triangulate, triangulated_points
from worldgen.types import SupervisionView

_log = logging.getLogger("worldgen")


def found_points(where: str, views: Sequence[SupervisionView], cache: Path | None) -> Points | None:
    """What the pictures themselves tell; None, and a line that says why, where they tell too little.

    where: the folder, for messages; cache: a folder where the points are kept, None = nowhere.
    """
    if not can_triangulate():
        _log.warning("%s: no points there, and no pycolmap here to find some: pip install pycolmap", where)
        return None
    _log.warning("%s: no points there, so they are triangulated from its %d pictures to fit", where, len(views))
    points = triangulated_points(where, views, cache)
    if points is None:
        _log.warning("%s: fewer than %d points are found in three pictures each", where, FEWEST)
    return points


def guessed_points(where: str, views: Sequence[SupervisionView], count: int, seed: int) -> Points:
    """At most `count` random points, none of them where a view is empty; a line says so."""
    cameras = [view.camera for view in views]
    points = within_silhouettes(lambda again: random_points(where, cameras, count, seed + again), views, count)
    _log.warning("%s: the fit starts from %d random points, which serve worse than known ones", where, len(points.xyz))
    return points

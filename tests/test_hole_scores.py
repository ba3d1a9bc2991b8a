"""How much cameras still do not see: the kernel against its twin in torch, and what more points can change."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import specks
from worldgen.geometry.cameras import look_at
from worldgen.recipe import hole_scores
from worldgen.recipe.hole_scores import HoleScores, mark_seen_by_torch, thinned
from worldgen.types import Camera

places = st.tuples(st.floats(-180, 180, width=32), st.floats(-90, 90, width=32), st.floats(-1, 1, width=32))
counts, seeds = st.integers(0, 3000), st.integers(0, 99)


def cameras(chosen: list[tuple[float, float, float]]) -> list[Camera]:
    return [Camera.from_fov(96, 96, 90, look_at(yaw, pitch, torch.tensor([x, 0.2, -x]))) for yaw, pitch, x in chosen]


@given(counts, seeds, st.lists(places, min_size=1, max_size=3))
@settings(max_examples=25)
def test_torch_does_what_the_kernel_does(count, seed, chosen):
    """But where rounding decides whether a pixel's centre lies in a square."""
    cloud, views = specks(count, seed), cameras(chosen)
    known = torch.zeros(len(views), 48, 48, dtype=torch.bool)
    twin, w2c = known.clone(), torch.stack([camera.w2c for camera in views])
    hole_scores._mark_seen(known.numpy(), cloud.xyz.numpy(), cloud.spacing.numpy(), w2c.numpy(), np.float32(24))
    mark_seen_by_torch(twin, cloud.xyz, cloud.spacing, w2c, 24.0)
    assert (known == twin).float().mean() > 0.999
    mark_seen_by_torch(twin, cloud.xyz[:0], cloud.spacing[:0], w2c, 24.0)
    assert (known == twin).float().mean() > 0.999, "nothing forgets nothing"


@given(st.integers(2, 2000), seeds, places)
@settings(max_examples=25)
def test_more_points_leave_less_unknown(count, seed, place):
    cloud, views = specks(count, seed), cameras([place])
    scores = HoleScores(cloud[: count // 2], views)
    before = scores.unknown()
    scores.add(cloud[count // 2 :])
    assert (scores.unknown() <= before).all()
    assert (scores.unknown() >= 0).all()


@given(counts, seeds, st.floats(0.002, 0.2))
@settings(max_examples=25)
def test_thinned_keeps_some_of_the_points_each_at_least_as_large(count, seed, angle):
    cloud = specks(count, seed)
    thin = thinned(cloud, angle)
    assert (len(thin) > 0) == (count > 0)
    spacing = dict(zip(map(tuple, cloud.xyz.tolist()), cloud.spacing.tolist(), strict=True))
    for xyz, size in zip(map(tuple, thin.xyz.tolist()), thin.spacing.tolist(), strict=True):
        assert size >= spacing[xyz]
    assert len(thinned(thin, angle)) == len(thin)

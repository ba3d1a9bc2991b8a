"""Estimated depth of completed views meets what was known of them: pytest tests/test_view_alignment.py"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import BoxRoom
from worldgen.geometry.cameras import distance_to_zdepth, look_at
from worldgen.recipe.view_alignment import aligned_distance, with_distances
from worldgen.types import Camera, View, ViewDepth

ROOM = BoxRoom(pillars=(((0.6, -1.5, 2.0), (1.1, 1.6, 2.5)),))
CAMERA = Camera.from_fov(96, 96, 90, look_at(20, -10, torch.tensor([-0.8, 0.2, -0.6])))
TRUE = ROOM.view(CAMERA)
V, U = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")


def render(known: torch.Tensor) -> View:
    """What is there where `known`, and nothing elsewhere."""
    return View(CAMERA, TRUE.rgb * known, known, TRUE.measured * known)


def holes() -> torch.Tensor:
    known = torch.ones(96, 96, dtype=torch.bool)
    known[20:50, 30:60] = False
    known[70:, 80:] = False
    return known


@given(
    scale=st.floats(0.05, 20),
    tilt=st.floats(-0.2, 0.2),
    roll=st.floats(-0.2, 0.2),
)
@settings(max_examples=20, deadline=None)
def test_scale_and_tilt_are_found(scale, tilt, roll):
    estimated = TRUE.measured * scale * (tilt * U + roll * V).exp()
    known = holes()
    aligned = aligned_distance(CAMERA, estimated, torch.ones_like(known), render(known))
    relative = (aligned / TRUE.measured - 1).abs()[~known]
    assert relative.max() < 0.02


def test_a_smooth_error_that_no_tilt_explains_is_bent_away():
    known = holes()
    estimated = TRUE.measured * 3 * (0.2 * torch.sin(3 * U) * V).exp()
    aligned = aligned_distance(CAMERA, estimated, torch.ones_like(known), render(known))
    relative = (aligned / TRUE.measured - 1).abs()
    assert relative[known].median() < 0.01
    assert relative[~known].median() < 0.03


def test_known_things_that_the_estimate_has_elsewhere_do_not_bend_it():
    """A fifth of what was known stands twice as far as in the estimate."""
    known = holes()
    wrong = render(known)
    shifted = wrong.measured.clone()
    shifted[:, 64:76] *= 2
    aligned = aligned_distance(
        CAMERA, TRUE.measured * 5, torch.ones_like(known), View(CAMERA, wrong.rgb, known, shifted)
    )
    relative = (aligned / TRUE.measured - 1).abs()[20:50, 30:60]
    assert relative.median() < 0.02


def test_what_has_no_depth_is_not_known_and_what_was_known_stays():
    known, valid = holes(), torch.ones(96, 96, dtype=torch.bool)
    valid[20:35] = False
    zdepth = torch.where(valid, 2 * distance_to_zdepth(CAMERA, TRUE.measured), torch.inf)
    completed = View(CAMERA, TRUE.rgb, torch.ones_like(known))
    found = with_distances(completed, render(known), lambda rgb, camera: ViewDepth(zdepth, valid))
    assert torch.equal(found.known, known | valid)
    assert torch.equal(found.measured[known], TRUE.measured[known])
    assert torch.isfinite(found.measured[found.known]).all()
    new = found.known & ~known
    assert (found.measured / TRUE.measured - 1).abs()[new].max() < 0.02


def test_own_distances_are_taken_as_they_are():
    whole = View(CAMERA, TRUE.rgb, torch.ones(96, 96, dtype=torch.bool), TRUE.measured)
    assert with_distances(whole, render(holes()), pytest.fail) is whole


@pytest.mark.parametrize("known_px", [0, 3])
def test_where_too_little_is_known_nothing_is_added(known_px):
    known = torch.zeros(96, 96, dtype=torch.bool)
    known[0, :known_px] = True
    estimate = ViewDepth(torch.full((96, 96), 3.0), torch.ones(96, 96, dtype=torch.bool))
    completed = View(CAMERA, TRUE.rgb, torch.ones(96, 96, dtype=torch.bool))
    found = with_distances(completed, render(known), lambda rgb, camera: estimate)
    assert torch.equal(found.known, known)

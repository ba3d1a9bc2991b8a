"""Steps where pieces of a panorama meet: they go, the photo stays, and the way round does not matter."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgen.geometry.equirect import directions
from worldgen.geometry.seams import close_seams

HEIGHT = 128


def smooth() -> torch.Tensor:
    """[3, 128, 256], without a step anywhere."""
    return (0.5 + 0.2 * directions(HEIGHT, 2 * HEIGHT)).movedim(-1, 0).contiguous()


def halves() -> torch.Tensor:
    """The photo in front, one other piece behind."""
    piece = torch.ones(HEIGHT, 2 * HEIGHT, dtype=torch.int64)
    piece[:, 64:192] = 0
    return piece


@given(st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=3))
@settings(max_examples=6)
def test_a_planted_step_goes_and_the_photo_stays(step):
    rgb, piece = smooth(), halves()
    planted = torch.where(piece == 1, rgb + torch.tensor(step)[:, None, None], rgb)
    closed = close_seams(planted, piece)
    assert torch.equal(closed[:, piece == 0], rgb[:, piece == 0])
    error = (closed - rgb)[:, 32:96]
    slope = rgb.diff(dim=2).abs().max()  # as steep as the picture itself is no step
    for left, right in ((63, 64), (191, 192)):
        assert (error[..., right] - error[..., left]).abs().max() <= 0.2 * max(map(abs, step)) + slope


@pytest.mark.parametrize("label", [0, 1])
def test_one_piece_has_no_seams(label):
    rgb = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0))
    closed = close_seams(rgb, torch.full((64, 128), label))
    torch.testing.assert_close(closed, rgb, atol=1e-6, rtol=0)


@pytest.mark.parametrize("columns", [64, 129])
def test_a_turned_panorama_is_mended_as_it_was(columns):
    rgb, piece = smooth(), halves()
    rgb = torch.where(piece == 1, rgb + 0.05, rgb)
    turned = close_seams(rgb.roll(columns, 2), piece.roll(columns, 1))
    torch.testing.assert_close(turned, close_seams(rgb, piece).roll(columns, 2), atol=1e-4, rtol=0)


def cloudy(contrast: float) -> torch.Tensor:
    """`smooth` with blotches of 4 degrees."""
    blotches = torch.rand(1, 1, HEIGHT // 4, HEIGHT // 2, generator=torch.Generator().manual_seed(0)) - 0.5
    return smooth() + contrast * torch.nn.functional.interpolate(blotches, (HEIGHT, 2 * HEIGHT), mode="nearest")[0]


def side_steps(closed: torch.Tensor) -> torch.Tensor:
    """What is left of a step at the photo's left border, of each row beside the horizon."""
    return (closed[:, 32:96, 63] - closed[:, 32:96, 64]).mean(0).abs()


def test_a_wide_step_goes_where_both_sides_are_calm_and_stays_where_something_is():
    piece, step = halves(), 0.25
    calm, busy = (torch.where(piece == 1, rgb + step, rgb) for rgb in (smooth(), cloudy(0.5)))
    assert side_steps(close_seams(calm, piece)).mean() < 0.35 * step
    assert side_steps(close_seams(busy, piece)).mean() > 0.6 * step


def test_what_is_above_each_other_is_told_apart_sooner_than_what_is_side_by_side():
    piece = torch.ones(HEIGHT, 2 * HEIGHT, dtype=torch.int64)
    piece[HEIGHT // 2 :] = 0
    rgb = torch.where(piece == 1, smooth() + 0.25, smooth())
    left = (close_seams(rgb, piece) - rgb)[:, HEIGHT // 2 - 1]
    assert left.abs().max() < 0.5 * 0.25


def test_a_correction_ends_where_its_piece_ends():
    """Corrections are found on a grid of 256 columns; a finer picture has no ramp from one to the next."""
    width = 1024
    piece = (torch.arange(width) >= width // 2).long().expand(width // 2, width) + 1
    rgb = 0.5 + 0.1 * (piece - 1).float().expand(3, -1, -1)
    closed = close_seams(rgb, piece)
    assert closed.diff(dim=2).abs().max() < 0.02


def test_different_things_may_differ():
    rgb, piece = smooth(), halves()
    far = torch.where(piece == 1, rgb - 0.7, rgb)
    assert (close_seams(far, piece) - far).abs().max() < 0.1

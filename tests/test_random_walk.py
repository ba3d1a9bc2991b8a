"""A coarse guess settles where the picture has its edges."""

import torch

from worldgen.embedded.random_walk import settled


def picture(edge: int) -> torch.Tensor:
    """Blue above a row of 160, brown below: [3, 160, 160]."""
    colour = torch.tensor([0.4, 0.6, 0.9])[:, None, None].repeat(1, 160, 160)
    colour[:, edge:] = torch.tensor([0.4, 0.3, 0.2])[:, None, None]
    return colour


def guess(edge: int) -> torch.Tensor:
    """Sure above a row of 20, sure of the contrary below: [20, 20]."""
    rows = torch.full((20, 20), 0.02)
    rows[:edge] = 0.98
    return rows


def test_the_outline_moves_to_the_edge_from_above_and_from_below():
    for edge in (74, 80, 86):  # a guess in cells of 8 pixels says 80
        inside = settled(guess(10), picture(edge)) > 0.5
        assert inside[:edge].all()
        assert not inside[edge:].any()


def test_a_guess_that_is_all_one_is_left_alone():
    for value in (0.1, 0.9):
        soft = settled(torch.full((20, 20), value), picture(80))
        torch.testing.assert_close(soft, torch.full((160, 160), value))


def test_left_is_as_right_and_values_are_shares():
    torch.manual_seed(0)
    rgb, coarse = torch.rand(3, 96, 160), torch.rand(12, 20)
    soft = settled(coarse, rgb)
    assert soft.shape == (96, 160)
    assert 0 <= soft.min() < soft.max() <= 1
    torch.testing.assert_close(settled(coarse.flip(-1), rgb.flip(-1)), soft.flip(-1), rtol=1e-3, atol=1e-4)

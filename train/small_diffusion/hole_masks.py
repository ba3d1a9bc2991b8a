"""Which part of a picture is known, drawn at random as completion meets it: what moved apart, gaps between points, what
lies outside of earlier views, and now and then nothing at all.

Cheaper than warping measured views, and as many as one likes; no picture is needed.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST, MOST = 0.1, 0.95  # of a picture that is known, unless nothing is
_NOTHING = 0.05  # of the masks
_TRIES = 20


def known_mask(size: int, generator: torch.Generator) -> Tensor:
    """bool [size, size], True = known: a share from `LEAST` to `MOST` of it, or, five times in a hundred, nothing."""
    if _uniform(generator) < _NOTHING:
        return torch.zeros(size, size, dtype=torch.bool)
    for _ in range(_TRIES):
        known = _KINDS[_whole(len(_KINDS), generator)](size, generator)
        if _uniform(generator) < 0.4:
            known = known & _KINDS[_whole(len(_KINDS), generator)](size, generator)
        if LEAST <= float(known.float().mean()) <= MOST:
            return known
    return _blobs(size, generator)


def _blobs(size: int, generator: torch.Generator) -> Tensor:
    """Where smooth noise is low, so much of it as was drawn: holes of any shape, of one scale."""
    share = LEAST + (MOST - LEAST) * _uniform(generator)
    noise = _smooth(size, 2 ** (1 + 4 * _uniform(generator)), generator)
    rank = noise.flatten().argsort().argsort().reshape(size, size)
    return rank < round((0.02 + 0.96 * share) * size * size) if share < 0.5 else rank < round(share * size * size)


def _bands(size: int, generator: torch.Generator) -> Tensor:
    """Along the level lines of smooth noise, crescents that thin out: what is uncovered beside things' outlines."""
    noise = _smooth(size, 1.5 + 4 * _uniform(generator), generator)
    width = _smooth(size, 3.0, generator).clamp(min=0) * (0.1 + 0.5 * _uniform(generator))
    return ~((noise - 0.8 * (2 * _uniform(generator) - 1)).abs() < width)


def _gaps(size: int, generator: torch.Generator) -> Tensor:
    """Specks, the denser the farther points were moved apart, some of them two pixels wide."""
    density = (0.25 + 0.25 * _smooth(size, 3.0, generator)).clamp(0, 0.9) * (0.2 + 1.2 * _uniform(generator))
    step = 1 + _whole(2, generator)
    coarse = -(-size // step)
    specks = torch.rand(coarse, coarse, generator=generator)
    specks = specks.repeat_interleave(step, 0).repeat_interleave(step, 1)[:size, :size]
    return specks >= density


def _outside(size: int, generator: torch.Generator) -> Tensor:
    """One side of a slightly bent line, as where an earlier view's picture ends."""
    angle, bend = 2 * math.pi * _uniform(generator), 0.4 * (2 * _uniform(generator) - 1)
    place = torch.linspace(-1, 1, size)
    x, y = place[None, :], place[:, None]
    across = math.cos(angle) * x + math.sin(angle) * y + bend * (math.cos(angle) * y - math.sin(angle) * x).square()
    return across < 1.6 * _uniform(generator) - 0.8


def _frame(size: int, generator: torch.Generator) -> Tensor:
    """A rectangle is hidden, or all but one."""
    ends = torch.rand(2, 2, generator=generator).sort(dim=1).values
    (top, bottom), (left, right) = (ends * size).round().long().tolist()
    known = torch.ones(size, size, dtype=torch.bool)
    known[top:bottom, left:right] = False
    return known if _uniform(generator) < 0.6 else ~known


_KINDS = (_blobs, _bands, _gaps, _outside, _outside, _frame)


def _smooth(size: int, waves: float, generator: torch.Generator) -> Tensor:
    """Noise of so many bumps a side, [size, size], mean 0 and variance 1."""
    cells = max(2, round(waves)) + 3
    coarse = torch.randn(1, 1, cells, cells, generator=generator)
    fine = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)[0, 0]
    return (fine - fine.mean()) / fine.std().clamp(min=1e-6)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _whole(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))

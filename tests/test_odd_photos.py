"""Photos that show no place, or hardly one: whatever they are taken for, the world is whole, upright and plain."""

import re

import pytest
import torch
from torch import Tensor

from worldgen.embedded.geometric_depth import GeometricDepth
from worldgen.embedded.prefill import QuiltedPrefill
from worldgen.embedded.recognised_prompts import RecognisingPrompter
from worldgen.recipe.panorama import embed
from worldgen.types import Camera, Panorama, Prompts, View

HEIGHT, WIDTH = 96, 128
DOWN = torch.linspace(0, 1, HEIGHT)[:, None]


def _noise(spread: float) -> Tensor:
    return spread * torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def _document() -> Tensor:
    paper = torch.full((3, HEIGHT, WIDTH), 0.97)
    letters = torch.rand(HEIGHT // 4, WIDTH // 2, generator=torch.Generator().manual_seed(1)) < 0.5
    paper[:, ::4][:, :, 8:-8] -= 0.9 * letters.repeat_interleave(2, 1)[:, 8:-8]
    return paper


def _night() -> Tensor:
    lights = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2)) > 0.995
    return 0.03 + _noise(0.01) + 0.9 * lights


def _fisheye() -> Tensor:
    across = torch.linspace(-1, 1, WIDTH)
    inside = (2 * DOWN - 1).square() + across.square() < 0.95
    return (0.5 + _noise(0.15)) * inside


def _drawing() -> Tensor:
    paper = torch.ones(3, HEIGHT, WIDTH)
    paper[:, 40:80, 30:70] = torch.tensor([0.9, 0.3, 0.2])[:, None, None]
    paper[:, 79:81] = 0
    return paper


PHOTOS = {
    "all dark": torch.zeros(3, HEIGHT, WIDTH),
    "dark and noisy": 0.02 + _noise(0.01),
    "overexposed": torch.ones(3, HEIGHT, WIDTH),
    "all sky": torch.stack([0.4 + 0.4 * DOWN, 0.6 + 0.3 * DOWN, 0.9 + 0.05 * DOWN]).expand(3, HEIGHT, WIDTH)
    + _noise(0.005),
    "fog": 0.7 - 0.05 * DOWN + _noise(0.005),
    "noise": 0.5 + _noise(0.3),
    "night": _night(),
    "document": _document(),
    "fisheye": _fisheye(),
    "drawing": _drawing(),
}


@pytest.mark.parametrize("indoor", [False, True])
@pytest.mark.parametrize("name", PHOTOS)
def test_it_becomes_a_plain_whole_world(name, indoor):
    rgb = PHOTOS[name].clamp(0, 1).contiguous()
    photo = View(Camera.from_fov(WIDTH, HEIGHT, 70), rgb, torch.ones(HEIGHT, WIDTH, dtype=torch.bool))
    canvas = embed(photo, 256)
    rgb, _, guesses = QuiltedPrefill()(photo, canvas.rgb, canvas.photo, indoor, 0)
    panorama = Panorama(rgb.clamp(0, 1), canvas.photo)  # what the network closes is no more than gaps
    assert panorama.rgb.isfinite().all()
    assert guesses["beside_the_photo"]
    for pole in (slice(0, 20), slice(-20, None)):  # no copies, no ornaments
        assert panorama.rgb[:, pole].std((1, 2)).max() < 0.1
    if indoor:
        return
    distances = GeometricDepth()(panorama, Prompts("a place", "above", "below", indoor, "a test"))
    assert distances.distance.isfinite().all()
    assert distances.distance.min() > 0.5
    assert not bool(distances.sky[len(distances.sky) // 2 :].any())
    below = distances.distance[-1]
    assert (below / 1.6 - 1).abs().max() < 0.05  # level ground under the viewer


@pytest.mark.parametrize("name", PHOTOS)
def test_whether_it_is_indoors_is_said_and_how_surely(name):
    prompts = RecognisingPrompter()(PHOTOS[name].clamp(0, 1))
    share = int(re.search(r"(\d+)% sure", prompts.source)[1])
    assert 50 <= share <= 100
    if name in ("all dark", "dark and noisy", "overexposed", "night"):  # nothing is seen
        assert share < 60
        assert ":" not in prompts.atmosphere  # no place is named

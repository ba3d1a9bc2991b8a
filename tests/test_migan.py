"""The MI-GAN adapter, and the real network through the whole step at a small size."""

import pytest
import torch

from worldgen.embedded.migan import MiganInpainter
from worldgen.errors import UserError


@pytest.fixture(scope="module")
def inpainter() -> MiganInpainter:
    return MiganInpainter()


@pytest.fixture(scope="module")
def picture() -> tuple[torch.Tensor, torch.Tensor]:
    """A gradient with stripes, 96x128, and a hole in its middle."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 128), indexing="ij")
    rgb = torch.stack([x, y, 0.5 + 0.2 * torch.sin(40 * x)])
    known = torch.ones(96, 128, dtype=torch.bool)
    known[36:60, 50:80] = False
    return rgb, known


def painted(inpainter, rgb, known) -> torch.Tensor:
    return inpainter(rgb[None], known[None].float(), [""], [0])[0]


def test_a_hole_is_filled_in_the_colours_around_it(inpainter, picture):
    rgb, known = picture
    answer = painted(inpainter, rgb * known, known)
    assert (answer - rgb)[:, ~known].abs().mean() < 0.12


def test_nothing_to_fill_asks_nobody(picture):
    rgb, known = picture
    idle = MiganInpainter()
    assert (painted(idle, rgb, torch.ones_like(known)) - rgb).abs().max() <= 0.5 / 255 + 1e-6
    assert idle._loaded is None


@pytest.mark.parametrize(("key", "value"), [("threads", -1), ("margin_px", 99)])
def test_wrong_settings_name_the_key(key, value):
    with pytest.raises(UserError, match=f"inpainter.{key}"):
        MiganInpainter(**{key: value})

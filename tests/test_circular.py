"""Whole panoramas as closed circles: their edges meet, and views are painted as ever."""

from contextlib import contextmanager

import pytest
import torch

pytest.importorskip("diffusers")

from tests.tiny_diffusion import apart, views
from worldgen.models.recorded import RecordedInpainter
from worldgen.recipe.given import front_view
from worldgen.recipe.panorama import PanoramaSettings, synthesize
from worldgen.types import Prompt, Prompts


@contextmanager
def columns_alike(monkeypatch):
    """Noise that does not tell one column from another, so that a turned picture meets the same noise."""
    from diffusers.models.autoencoders import vae
    from diffusers.pipelines.flux import pipeline_flux_inpaint as flux
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as sd
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_inpaint as sdxl

    with monkeypatch.context() as patch:
        for module in (vae, flux, sd, sdxl):
            drawn = module.randn_tensor

            def alike(shape, drawn=drawn, **options):
                return drawn((*shape[:-1], 1), **options).expand(shape).contiguous()

            patch.setattr(module, "randn_tensor", alike)
        yield


def whole_turn(height=64):
    """A panorama of smooth colours without a seam, and a photo's place in it."""
    lon = torch.linspace(-torch.pi, torch.pi, 2 * height + 1)[:-1]
    rows = torch.linspace(0, 1, height)[:, None]
    rgb = torch.stack([0.5 + 0.3 * torch.sin(lon + phase) * rows for phase in (0.0, 1.0, 2.0)])
    known = torch.zeros(height, 2 * height)
    known[16:48, 40:90] = 1
    return rgb[None], known[None]


@pytest.mark.parametrize("name", ["sdxl", "sd"])
def test_a_panorama_that_is_turned_comes_back_turned(inpainter, monkeypatch, name):
    adapter = inpainter(name, circular=True)
    rgb, known = whole_turn()
    with columns_alike(monkeypatch):
        straight = adapter.around(rgb, known, [Prompt("a meadow")], [1])
        turned = adapter.around(rgb.roll(32, -1), known.roll(32, -1), [Prompt("a meadow")], [1])
        assert apart(turned, straight.roll(32, -1)) <= 1
        flat = adapter(rgb, known, [Prompt("a meadow")], [1])
        flat_turned = adapter(rgb.roll(32, -1), known.roll(32, -1), [Prompt("a meadow")], [1])
        assert apart(flat_turned, flat.roll(32, -1)) > 3  # views are no circles


def test_after_a_panorama_views_are_painted_as_before(inpainter):
    adapter = inpainter(circular=True, vae_tiling=True)
    before = adapter(*views(1))
    adapter.around(*whole_turn(), [Prompt("a meadow")], [1])
    assert torch.equal(adapter(*views(1)), before)
    assert adapter.pipe.vae.use_tiling


def test_large_panoramas_are_enlarged_and_keep_their_photo(inpainter):
    adapter, widths = inpainter(circular=True, panorama_width=256), []
    adapter.pipe.unet.register_forward_pre_hook(lambda _, given: widths.append(given[0].shape[-1] * 8))
    rgb, known = whole_turn(height=160)
    painted = adapter.around(rgb, known, [Prompt("a meadow")], [1])
    assert widths == [256, 256]
    assert painted.shape == rgb.shape
    assert apart(painted[:, :, known[0] == 1], rgb[:, :, known[0] == 1]) <= 0.5001
    assert float((painted * 255 - (painted * 255).round()).abs().max()) < 1e-3


@pytest.mark.parametrize(("name", "shown"), [("sdxl", 128), ("flux", 144)])
def test_adhoc_asks_for_a_circle_where_there_are_such(inpainter, tmp_path, name, shown):
    """Others are shown a sixteenth more on both sides."""
    adapter, widths = inpainter(name, circular=name == "sdxl"), []
    encode = adapter.pipe.vae.encode
    adapter.pipe.vae.encode = lambda pixels, *rest, **more: (
        widths.append(pixels.shape[-1]) or encode(pixels, *rest, **more)
    )
    photo = front_view(whole_turn()[0][0], 80.0)
    prompts = Prompts("a meadow", "sky", "grass", indoor=False, source="test")
    settings = PanoramaSettings("adhoc", width=128)
    panorama = synthesize(photo, prompts, RecordedInpainter(adapter, tmp_path / name), settings)
    assert set(widths) == {shown}
    again = synthesize(photo, prompts, RecordedInpainter(adapter, tmp_path / name), settings)
    assert torch.equal(again.rgb, panorama.rgb)

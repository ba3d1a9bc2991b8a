"""The small diffusion network: what it is trained on, that its trainings go on as if never stopped, and that what is
shipped fills holes by the ordinary adapter."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.functional import avg_pool2d

pytest.importorskip("diffusers")

from tests.tiny_diffusion import apart, views
from train.lightning.settings import TrainingSettings
from train.lightning.trainer import train_module
from train.seeds import generator_of
from train.small_diffusion import cli
from train.small_diffusion.autoencoder import AutoencoderModule, edges, opponent
from train.small_diffusion.denoiser import DenoiserModule
from train.small_diffusion.hole_masks import LEAST, MOST, known_mask
from train.small_diffusion.latent_pool import LatentPool
from train.small_diffusion.settings import AutoencoderSettings, DenoiserSettings
from train.small_diffusion.small_networks import (
    new_autoencoder,
    new_denoiser,
    new_text_encoder,
    standardised,
    unheard_text,
)
from train.small_diffusion.training_pictures import TrainingPictures
from worldgen.config import choice, compose_program, instantiate
from worldgen.errors import UserError
from worldgen.geometry.fill import erode
from worldgen.models.runtime import Runtime
from worldgen.types import Prompt

AUTOENCODER = AutoencoderSettings(steps=4, batch=2, crop=16, widths=(12, 15, 18, 21), groups=3)
DENOISER = DenoiserSettings(steps=4, batch=2, widths=(8, 8), groups=4, heads=2)
TRAINED_ON = "muir_wood"


def panoramas() -> list[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(name, torch.rand(3, 32, 64, generator=generator)) for name in ("meadow", "hall")]


def pictures(**settings) -> TrainingPictures:
    return TrainingPictures(panoramas(), ["meadow"], **{"size": 32} | settings)


def autoencoder() -> AutoencoderModule:
    return AutoencoderModule(new_autoencoder(AUTOENCODER, 32, 0), pictures(), AUTOENCODER, seed=1)


def denoiser() -> DenoiserModule:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(3, 4, 4, 4, generator=generator).half()
    pool = LatentPool(latents, torch.randn(3, 2, 5, 4, 4, generator=generator).half())
    return DenoiserModule(new_denoiser(DENOISER, 4, 4, 0), pool, DENOISER, seed=1)


def trained(module, out_dir: Path, stop_at: int | None = None):
    """The module when it is done, or where it was stopped, with a checkpoint every two steps."""

    def track(items: Iterable, total: int, what: str) -> Iterator:
        for item in items:
            if item == stop_at:
                raise RuntimeError("stop here")
            yield item

    out_dir.mkdir(parents=True, exist_ok=True)
    settings = TrainingSettings(module.steps, "learning", checkpoint_every=2, trainer={"accelerator": "cpu"})
    train_module(module, range(module.steps), settings, out_dir, "a", track=track)
    return module


def test_masks_leave_as_much_as_they_should_and_follow_from_their_number():
    masks = [known_mask(64, generator_of(0, number)) for number in range(300)]
    shares = torch.stack([mask.float().mean() for mask in masks])
    assert 3 <= int((shares == 0).sum()) <= 30
    assert bool((((shares >= LEAST) & (shares <= MOST)) | (shares == 0)).all())
    assert float((shares < 0.4).float().mean()) > 0.2
    assert float((shares > 0.7).float().mean()) > 0.2
    assert all(torch.equal(known_mask(64, generator_of(0, number)), masks[number]) for number in (0, 7))
    assert not torch.equal(known_mask(64, generator_of(1, 7)), masks[7])


def test_pictures_follow_from_seed_and_number_and_show_named_panoramas_alone():
    together = pictures()(3, [5, 6])
    assert together.shape == (2, 3, 32, 32)
    assert torch.equal(pictures()(3, [6])[0], together[1])
    assert not torch.equal(pictures()(4, [6])[0], together[1])
    others = [(name, rgb if name == "meadow" else 0 * rgb) for name, rgb in panoramas()]
    assert torch.equal(TrainingPictures(others, ["meadow"], size=32)(3, [5, 6]), together)
    crops = pictures().crops(3, [5], 16)[0]
    assert any(
        torch.equal(together[0][:, top : top + 16, left : left + 16], crops) for top in range(17) for left in range(17)
    )


def test_a_panorama_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"pictures\.names: \['attic'\], wanted some of meadow, hall"):
        TrainingPictures(panoramas(), ["meadow", "attic"])


def test_what_tests_is_never_trained_on():
    names = compose_program("small_diffusion", []).pictures.names
    held_out = {"san_giuseppe_bridge", "apartment", "city", "forest", "hall", "sunset"}
    assert TRAINED_ON in names
    assert not held_out & set(names)


@pytest.mark.parametrize("make", [autoencoder, pytest.param(denoiser, marks=pytest.mark.slow)])
def test_stopped_and_called_again_it_ends_as_if_nothing_had_happened(make, tmp_path):
    whole = trained(make(), tmp_path / "whole" / "out")
    with pytest.raises(RuntimeError, match="stop here"):
        trained(make(), tmp_path / "stopped" / "out", stop_at=3)
    resumed = trained(make(), tmp_path / "stopped" / "out")
    untrained = make().state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert any(not torch.equal(value, untrained[name]) for name, value in whole.state_dict().items())
    assert bool((whole.losses > 0).all())


def test_the_average_lags_behind(tmp_path):
    module = trained(denoiser(), tmp_path / "out")
    last, mean = module.network.conv_in.weight, module.averaged().conv_in.weight
    first = denoiser().network.conv_in.weight
    assert 0 < float((mean - first).norm()) < float((last - first).norm())


def test_an_untrained_autoencoder_makes_thumbnails_and_enlarges_them():
    vae = new_autoencoder(AUTOENCODER, 32, 0).eval()
    rgb = 2 * pictures()(0, range(4)) - 1
    with torch.no_grad():
        latents = vae.encode(rgb).latent_dist.mean
        back = vae.decode(latents).sample
    means = avg_pool2d(rgb, 8)
    assert (latents[:, :3] - means).abs().max() < 0.05 * means.abs().max()
    assert (avg_pool2d(back, 8) - means).square().mean() < 0.2 * means.var()
    assert (back - rgb).square().mean() < 0.8 * rgb.var()


def test_errors_of_colour_count_as_much_as_those_of_brightness():
    grey, red = torch.full((1, 3, 8, 8), 0.1), torch.zeros(1, 3, 8, 8)
    red[:, 0], red[:, 2] = 0.1, -0.1
    assert float(opponent(grey)[:, 1:].abs().max()) < 1e-6
    assert float(opponent(red)[:, 0].abs().max()) < 1e-6
    assert float(opponent(red).abs().mean()) > float(opponent(grey).abs().mean())
    assert float(edges(opponent(grey))) == 0


def test_standardised_latents_have_mean_0_and_variance_1_and_pictures_stay():
    vae = new_autoencoder(AUTOENCODER, 32, 0).eval()
    with torch.no_grad():
        vae.quant_conv.bias += 0.7
        rgb = 2 * pictures()(0, range(4)) - 1
        before = vae.encode(rgb).latent_dist
        picture = vae.decode(before.mean).sample
        standardised(vae, before.mean)
        after = vae.encode(rgb).latent_dist
        assert after.mean.mean(dim=(0, 2, 3)).abs().max() < 1e-4
        assert (after.mean.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-4
        scale = before.mean.std(dim=(0, 2, 3))[:, None, None]
        assert (after.std * scale / before.std - 1).abs().max() < 1e-3
        assert (vae.decode(after.mean).sample - picture).abs().max() < 1e-4


def test_every_text_is_answered_alike():
    network = new_text_encoder()
    tokens = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(tokens).last_hidden_state, unheard_text(2), atol=1e-6)


TINY = [
    *("pictures.size=32", "pictures.scenes.truths=[]", "training.autoencoder.steps=2", "training.autoencoder.crop=16"),
    *("training.autoencoder.batch=1", "training.autoencoder.widths=[16,20,24,28]", "training.pool.pictures=2"),
    *("training.pool.masks=1", "training.denoiser.steps=2", "training.denoiser.batch=1"),
    *("training.denoiser.widths=[16,16]", "training.logger=none", "quiet=true"),
]


@pytest.fixture
def known_panoramas(monkeypatch):
    """Small ones under all names, in the place of those that would be fetched."""
    names = compose_program("small_diffusion", []).pictures.names
    found = [(name, panoramas()[0][1]) for name in names]
    monkeypatch.setattr("eval.synthetic.panoramas.truth_panoramas", lambda: iter(found))


@pytest.mark.slow
def test_the_command_makes_a_pipeline_that_paints(known_panoramas, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main([*TINY, f"out={out}"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["autoencoder"]["steps"] == told["inpainter"]["steps"] == 2
    config = choice("inpainter", "small_diffusion")
    config.path, config.steps, config.working_px = str(out / "inpainter" / "pipeline"), 2, 64
    made = instantiate(config)
    made.load(Runtime())
    assert made(*views(1)).shape == (1, 3, 64, 64)
    weights = out / "inpainter" / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    assert cli.main([*TINY, f"out={out}"]) == 0
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.denoiser.widths=[60]", "denoiser.widths: [60], wanted multiples of denoiser.groups, 16"),
        ("training.autoencoder.latents=8", "autoencoder.latents: 8, wanted 4"),
        ("training.autoencoder.crop=20", "autoencoder.crop: 20, wanted a multiple of 8 from 16"),
        ("training.autoencoder.widths=[16,16,20,24]", "autoencoder.widths: [16, 16, 20, 24], wanted each larger than"),
        ("seed=-1", "seed: -1, wanted a whole number from 0"),
    ],
)
def test_a_wrong_setting_ends_in_one_line(override, message, tmp_path, capsys):
    assert cli.main([override, f"out={tmp_path / 'out'}", "quiet=true"]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def shipped():
    config = choice("inpainter", "small_diffusion")
    config.steps = 2
    made = instantiate(config)
    made.load(Runtime())
    return made


def far_from_holes(inpainter, known):
    """bool [H, W] of the one picture: where nothing may be painted."""
    return erode(known[0] == 1, inpainter.margin_px)


def test_what_is_shipped_fills_holes_and_keeps_what_is_known(shipped):
    rgb, known, prompts, seeds = views(1)
    painted = shipped(rgb, known, prompts, seeds)
    far = far_from_holes(shipped, known)
    assert apart(painted[0][:, far], rgb[0][:, far]) <= 0.5001
    assert apart(painted, rgb) > 20
    assert torch.equal(painted, shipped(rgb, known, prompts, seeds))
    assert apart(painted, shipped(rgb, known, prompts, [99])) > 5
    assert torch.equal(
        painted, shipped(rgb, known, [Prompt("a thicket of many a winding word")], seeds)
    )  # it hears no prompt


def test_what_is_shipped_is_small_and_says_what_it_is(shipped):
    folder = Path(shipped.path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    card = (folder / "README.md").read_text()
    for word in ("python -m train.small_diffusion", "CC0", "seed", TRAINED_ON):
        assert word in card


def test_larger_views_are_painted_at_the_working_size(shipped):
    seen = []
    handle = shipped.pipe.vae.decoder.register_forward_pre_hook(
        lambda _, given: seen.append(tuple(given[0].shape[-2:]))
    )
    rgb, known, prompts, seeds = (each[:1] for each in views(1))
    large = [
        torch.nn.functional.interpolate(rgb, scale_factor=4.0),
        known.repeat_interleave(4, 1).repeat_interleave(4, 2),
    ]
    painted = shipped(*large, prompts, seeds)
    handle.remove()
    assert painted.shape == (1, 3, 256, 256)
    assert seen == [(16, 16)]
    far = torch.nn.functional.max_pool2d(1 - large[1], 2 * shipped.margin_px + 1, 1, shipped.margin_px)[0] == 0
    assert apart(painted[0][:, far], large[0][0][:, far]) <= 0.5001

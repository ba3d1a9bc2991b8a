"""panorama=native: a tiny FLUX with a LoRA paints whole panoramas, through diffusers' own pipeline."""

from contextlib import nullcontext

import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from tests.test_circular import columns_alike, whole_turn
from tests.tiny_diffusion import apart, save_flux, save_flux_lora
from worldgen import pipeline
from worldgen.config import choice, compose, instantiate
from worldgen.errors import UserError
from worldgen.models import diffusion
from worldgen.models.circular import wrapped
from worldgen.models.panorama_painter import PanoramaPainter
from worldgen.models.recorded import RecordedInpainter
from worldgen.models.runtime import Runtime
from worldgen.present.console import Reporter
from worldgen.recipe.given import front_view
from worldgen.recipe.panorama import PanoramaSettings, embed, synthesize
from worldgen.types import Prompt, Prompts

PROMPTS, SEEDS = [Prompt("a meadow")], [1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_flux(tmp_path_factory.mktemp("hub") / "flux_dev", 16, "FluxPipeline")


@pytest.fixture(scope="module")
def lora(checkpoint):
    return {
        "model": str(checkpoint.parent / "lora"),
        "file": save_flux_lora(checkpoint.parent / "lora", checkpoint).name,
    }


@pytest.fixture
def painter(checkpoint, lora):
    """Makes one, loaded; it paints at 256 pixels."""

    def make(**settings):
        given = {
            "path": str(checkpoint),
            "steps": 2,
            "guidance": 2.8,
            "panorama_width": 256,
            "loras": [lora],
        } | settings
        made = PanoramaPainter("owner/name", **given)
        made.load(Runtime())
        return made

    return make


def test_it_fills_a_panorama_and_leaves_what_is_known(painter):
    rgb, known = whole_turn(128)
    adapter = painter()
    assert type(adapter.pipe).__name__ == "FluxInpaintPipeline"
    painted = adapter(rgb, known, PROMPTS, SEEDS)
    assert painted.shape == rgb.shape
    assert apart(painted[0, :, 24:40, 48:82], rgb[0, :, 24:40, 48:82]) <= 0.5001
    assert float((painted * 255 - (painted * 255).round()).abs().max()) < 1e-3
    assert apart(painted[0, :, 60:], rgb[0, :, 60:]) > 20


def test_seed_scene_and_lora_count_and_what_lies_in_holes_does_not(painter):
    adapter, (rgb, known) = painter(), whole_turn(128)
    first = adapter(rgb, known, PROMPTS, SEEDS)
    assert torch.equal(adapter(rgb, known, PROMPTS, SEEDS), first)
    assert torch.equal(adapter(torch.where(known[:, None] == 1, rgb, 0.9), known, PROMPTS, SEEDS), first)
    assert apart(adapter(rgb, known, PROMPTS, [2]), first) > 5
    assert apart(adapter(rgb, known, [Prompt("a dark cave")], SEEDS), first) > 0.9
    assert apart(painter(loras=[])(rgb, known, PROMPTS, SEEDS), first) > 5


@pytest.mark.parametrize("height", [64, 160])
def test_panoramas_of_every_size_are_painted_at_the_width_of_its_training(painter, height):
    adapter, shapes = painter(), []
    adapter.pipe.transformer.register_forward_pre_hook(
        lambda _, __, given: shapes.append(given["hidden_states"].shape[1]), with_kwargs=True
    )
    rgb, known = whole_turn(height)
    painted = adapter(rgb, known, PROMPTS, SEEDS)
    assert shapes == [8 * 16] * 2  # of 16x16 pixels each
    assert painted.shape == rgb.shape
    place = painted[:, :, known[0] == 1], rgb[:, :, known[0] == 1]
    assert apart(*place) <= 0.5001


def test_it_is_told_that_it_is_a_panorama(painter):
    adapter, told = painter(prompt="This is a panorama. The image shows {}."), []
    encode = adapter.pipe.encode_prompt
    adapter.pipe.encode_prompt = lambda prompt, **others: told.append(prompt) or encode(prompt=prompt, **others)
    adapter(*whole_turn(128), PROMPTS, SEEDS)
    assert told == [["This is a panorama. The image shows a meadow."]]
    with pytest.raises(UserError, match=r"panorama\.painter\.prompt: a panorama, wanted \{\} once"):
        PanoramaPainter("owner/name", prompt="a panorama")


def test_the_transformer_sees_the_columns_at_the_edges_twice_and_answers_them_once(painter):
    transformer, seen = painter().pipe.transformer, {}
    rows, columns = 4, 8
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([0 * row, row, column], dim=-1).view(-1, 3).float()
    given = {
        "hidden_states": torch.randn(1, rows * columns, 64, generator=torch.Generator().manual_seed(0)),
        "encoder_hidden_states": torch.zeros(1, 3, 32),
        "pooled_projections": torch.zeros(1, 32),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([2.8]),
        "txt_ids": torch.zeros(3, 3),
        "img_ids": places,
        "return_dict": False,
    }
    with torch.no_grad():
        flat = transformer(**given)[0]
        hooks = [
            transformer.x_embedder.register_forward_pre_hook(lambda _, shown: seen.update(tokens=shown[0])),
            transformer.pos_embed.register_forward_pre_hook(lambda _, shown: seen.update(places=shown[0])),
            transformer.proj_out.register_forward_hook(lambda _, __, answer: seen.update(answer=answer)),
        ]
        with wrapped(transformer):
            closed = transformer(**given)[0]
        for hook in hooks:
            hook.remove()
        assert torch.equal(transformer(**given)[0], flat)
    wide = seen["places"][3:].view(rows, columns + 2, 3)
    assert wide[0, :, 2].tolist() == [7, 0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert wide[:, 4, 1].tolist() == [0, 1, 2, 3]
    tokens = seen["tokens"].view(rows, columns + 2, -1)
    assert torch.equal(tokens[:, 1:-1].flatten(0, 1), given["hidden_states"][0])
    assert torch.equal(tokens[:, 0], tokens[:, -2])
    assert torch.equal(tokens[:, -1], tokens[:, 1])
    answer = seen["answer"].view(rows, columns + 2, -1)
    assert torch.equal(closed[0], answer[:, 1:-1].flatten(0, 1))
    torch.testing.assert_close(answer[:, 0], answer[:, -2])  # so a copy takes every step as its original does
    torch.testing.assert_close(answer[:, -1], answer[:, 1])
    assert (closed - flat).abs().max() > 1e-4


def edges(rgb):
    """Of [1, 3, H, W]: how far its two edges are apart, and the most that two columns near them are."""
    steps = (rgb - rgb.roll(1, -1)).abs().mean((0, 1, 2))
    return float(steps[0]), float(torch.cat([steps[1:9], steps[-8:]]).max())


def test_the_edges_meet_and_a_panorama_that_is_turned_comes_back_turned(painter, monkeypatch):
    """Nearly: the transformer's places do not go round, and random weights were not trained to make up for it."""
    adapter, (rgb, known) = painter(), whole_turn(128)
    across, turned_by = {}, {}
    with columns_alike(monkeypatch):
        for kind, how in {"closed": wrapped, "open": lambda *_: nullcontext()}.items():
            monkeypatch.setattr(diffusion, "wrapped", how)
            straight = adapter(rgb, known, PROMPTS, SEEDS)
            turned = adapter(rgb.roll(64, -1), known.roll(64, -1), PROMPTS, SEEDS)
            across[kind], beside = edges(straight)
            turned_by[kind] = apart(turned, straight.roll(64, -1))
            assert (across[kind] <= beside) == (kind == "closed")
    assert across["open"] > 2 * across["closed"]
    assert turned_by["closed"] < 10 < 50 < turned_by["open"]


@pytest.fixture
def photo(tmp_path):
    """A file."""
    pixels = (front_view(whole_turn(256)[0][0], 80.0).rgb.permute(1, 2, 0) * 255).byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def config(checkpoint, lora, photo, tmp_path):
    """Of a run up to the panorama, with the choice's own settings but for the networks and sizes."""
    overrides = ["panorama=native", "until=panorama", "fov_deg=80", "panorama.width=256", f"out={tmp_path / 'run'}"]
    overrides += [
        f"panorama.painter.path={checkpoint}",
        "panorama.painter.steps=2",
        "panorama.painter.panorama_width=256",
    ]
    return compose(photo, [*overrides, f"panorama.painter.loras=[{{model: {lora['model']}, file: {lora['file']}}}]"])


def painted_panorama(config):
    run_dir = pipeline.run(config, Reporter(quiet=True)).root
    return (run_dir / "panorama" / "panorama.png").read_bytes(), sorted((run_dir / "panorama" / "views").iterdir())


@pytest.mark.slow
def test_the_recipe_paints_by_it_once_and_goes_on_after_a_kill(config, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    assert [adapter.weights[0].repo for adapter in pipeline.networks_of_hub(config)] == [
        choice("panorama", "native").painter.model
    ]
    with monkeypatch.context() as patch:
        patch.setattr("worldgen.steps.artifacts.save_panorama", killed)
        with pytest.raises(Killed):
            pipeline.run(config, Reporter(quiet=True))
    with monkeypatch.context() as patch:
        patch.setattr(PanoramaPainter, "call", lambda *_: pytest.fail("was asked again"))
        resumed, views = painted_panorama(config)
    assert len(views) == 1
    config.out += "-again"
    assert painted_panorama(config)[0] == resumed
    config.out, config.seed = config.out + "-other", 7
    assert painted_panorama(config)[0] != resumed


def test_the_runs_inpainter_has_no_part_in_it(config, monkeypatch):
    """Nor have the embedded profile's helps for a small one: neither loads, and a change makes nothing again."""
    first, _ = painted_panorama(config)
    changed = config.copy()
    changed.inpainter.margin_px = 2
    with monkeypatch.context() as patch:
        patch.setattr(PanoramaPainter, "load", lambda *_: pytest.fail("was made again"))
        assert painted_panorama(changed)[0] == first


def test_synthesis_keeps_the_photo_sharpens_nothing_and_paints_once(painter, tmp_path, monkeypatch):
    photo, prompts = (
        front_view(whole_turn(64)[0][0], 80.0),
        Prompts("a meadow", "sky", "grass", indoor=False, source="test"),
    )
    adapter = painter()
    settings = PanoramaSettings("native", width=256, painter=adapter, finish=lambda *_: pytest.fail("was asked"))
    made = synthesize(photo, prompts, RecordedInpainter(adapter, tmp_path), settings)
    assert made.rgb.shape == (3, 128, 256)
    monkeypatch.setattr(adapter, "call", lambda *_: pytest.fail("was asked again"))
    assert torch.equal(synthesize(photo, prompts, RecordedInpainter(adapter, tmp_path), settings).rgb, made.rgb)
    assert torch.equal(made.rgb[:, made.photo], embed(photo, 256).rgb[:, made.photo].clamp(0, 1))


@pytest.mark.parametrize("given", [{"heuristic": "native"}, {"heuristic": "adhoc", "painter": PanoramaPainter("a/b")}])
def test_a_painter_and_native_go_together(given):
    with pytest.raises(UserError, match=r"panorama\.heuristic: \w+, wanted panorama=native for a network that knows"):
        PanoramaSettings(**given)


def test_what_is_missing_is_named_by_its_own_key(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    adapter = instantiate(choice("panorama", "native").painter)
    assert "panorama.painter.download=true fetches it (about 34 GB)" in adapter.unavailable()
    assert [each.repo.partition("/")[2] for each in adapter.weights] == [
        "FLUX.1-dev",
        "DiT360-Panorama-Image-Generation",
    ]

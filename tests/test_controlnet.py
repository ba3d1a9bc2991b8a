"""Completion by a ControlNet: it is shown the points and their mask, steers the inpainter's own networks, and is
refused in one line where it was made for another."""

import pytest
import torch
from omegaconf import OmegaConf

pytest.importorskip("diffusers")

from tests.fakes import SmoothInpainter
from tests.tiny_diffusion import apart, save_controlnet, save_flux, save_sd, save_sdxl, views
from worldgen.config import choice, instantiate
from worldgen.errors import UserError
from worldgen.models import conformance, pipeline_parts
from worldgen.models.controlnet import ControlNetCompleter, condition
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.inpainting_completer import InpaintingCompleter
from worldgen.models.pool import Pool
from worldgen.models.runtime import Runtime
from worldgen.types import Camera, IncompleteView, PointCloud, Prompts, View

MODEL, RUNTIME = "owner/name", Runtime()
CHOSEN = {"inpainter": "sdxl", "completer": "controlnet"}
PROMPTS = Prompts("a meadow", "sky", "grass", indoor=False, source="test")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    there = {"sdxl": save_sdxl(root / "sdxl"), "sd": save_sd(root / "sd"), "flux": save_flux(root / "flux")}
    for name in ("sdxl", "sd"):
        there[f"controlnet_{name}"] = save_controlnet(root / f"controlnet_{name}", there[name])
    return there


@pytest.fixture
def completer(checkpoints):
    """Makes a completer of a base and a ControlNet's folder; base_settings: of the inpainter."""

    def make(base="sdxl", path=None, base_settings=(), **settings):
        inpainter = DiffusionInpainter(MODEL, path=str(checkpoints[base]), **({"steps": 2} | dict(base_settings)))
        return ControlNetCompleter(inpainter, path=str(path or checkpoints[f"controlnet_{base}"]), **settings)

    return make


def incomplete(count=3, size=64):
    rgb, known, prompts, seeds = views(count, size, size)
    camera = Camera.from_fov(size, size, 90.0)
    asked = [IncompleteView(View(camera, a, b > 0), b == 0) for a, b in zip(rgb, known, strict=True)]
    return asked, prompts, seeds


def completed(adapter, asked, prompts, seeds):
    return adapter.begin(PointCloud.empty(), PROMPTS)(asked, prompts, seeds)


def pictures(adapter, *asked):
    return torch.stack([one.view.rgb for one in completed(adapter, *asked)])


@pytest.mark.parametrize("base", ["sdxl", pytest.param("sd", marks=pytest.mark.slow)])
def test_it_keeps_its_contract(completer, base):
    conformance.check_view_completer(completer(base))


@pytest.mark.slow
def test_as_an_inpainter_it_keeps_that_contract_too(completer):
    conformance.check_inpainter(completer())


def test_it_is_shown_the_points_and_where_they_are(completer):
    adapter, seen = completer(), []
    adapter.load(RUNTIME)
    network = adapter._pipe.controlnet
    network.register_forward_pre_hook(lambda _, given, named: seen.append(named["controlnet_cond"]), with_kwargs=True)
    (one,), prompts, seeds = incomplete(1)
    completed(adapter, [one], prompts, seeds)
    expected = torch.cat([one.view.rgb * one.view.known, one.view.known[None].float()])
    assert torch.equal(seen[0][0], expected)
    assert torch.equal(condition(one.view.rgb[None], one.view.known[None]), expected[None])
    assert seen[0].shape == (2, 4, 64, 64)  # with and without the prompt


def test_it_steers_by_its_scale_and_for_its_time(completer, checkpoints):
    asked = incomplete(1)
    free = InpaintingCompleter(DiffusionInpainter(MODEL, path=str(checkpoints["sdxl"]), steps=2))
    free.load(RUNTIME)
    unsteered, answers = pictures(free, *asked), {}
    for name, settings in {"whole": {}, "none": {"scale": 0.0}, "half": {"until": 0.5}, "steps": {"steps": 3}}.items():
        adapter = completer(**settings)
        adapter.load(RUNTIME)
        answers[name] = pictures(adapter, *asked)
    assert apart(answers["whole"], unsteered) > 5
    assert apart(answers["none"], unsteered) <= 1
    assert apart(answers["half"], answers["whole"]) > 1
    assert apart(answers["steps"], answers["whole"]) > 5


def test_views_of_a_batch_are_as_if_completed_alone(completer):
    alone, together = completer(), completer()
    alone.load(RUNTIME)
    together.load(Runtime(batch=2))
    sizes = []
    together._pipe.controlnet.register_forward_pre_hook(
        lambda _, given, named: sizes.append(len(named["controlnet_cond"])), with_kwargs=True
    )
    asked, prompts, seeds = incomplete()
    one_by_one = [pictures(alone, [a], [b], [c]) for a, b, c in zip(asked, prompts, seeds, strict=True)]
    assert apart(pictures(together, asked, prompts, seeds), torch.cat(one_by_one)) <= 1
    assert sizes == [4, 4, 2, 2]


def test_views_of_any_size_and_depth_left_to_the_recipe(completer):
    adapter = completer()
    adapter.load(RUNTIME)
    (one,) = completed(adapter, *incomplete(1, size=50))
    assert one.view.rgb.shape == (3, 50, 50)
    assert one.view.distance is None


def test_it_shares_the_inpainters_networks(completer):
    adapter = completer()
    adapter.load(RUNTIME)
    assert adapter._pipe.unet is adapter.inpainter.pipe.unet
    assert adapter._pipe.vae is adapter.inpainter.pipe.vae


@pytest.mark.slow
def test_networks_that_wait_for_their_turn_wait_for_both(completer, monkeypatch):
    """With the processor in a GPU's place, which diffusers allows."""
    asked, plain = incomplete(1), completer()
    plain.load(RUNTIME)
    expected = pictures(plain, *asked), plain.inpainter(*views(1))
    monkeypatch.setattr(pipeline_parts, "expect", lambda *_: None)
    waiting = completer()
    waiting.load(Runtime(device="cpu", offload="model"))
    for _ in range(2):
        assert apart(pictures(waiting, *asked), expected[0]) <= 1
        assert apart(waiting.inpainter(*views(1)), expected[1]) <= 1


@pytest.mark.slow
def test_in_another_dtype_all_networks_are(completer):
    adapter = completer()
    adapter.load(Runtime(dtype="bfloat16"))
    assert adapter._pipe.controlnet.dtype == adapter._pipe.unet.dtype == torch.bfloat16
    assert pictures(adapter, *incomplete(1)).dtype == torch.float32


def test_without_a_controlnet_the_inpainter_completes_alone(checkpoints):
    inpainter = DiffusionInpainter(MODEL, path=str(checkpoints["sdxl"]), steps=2)
    alone, plain = ControlNetCompleter(inpainter), InpaintingCompleter(inpainter)
    alone.load(RUNTIME)
    asked = incomplete(2)
    assert torch.equal(pictures(alone, *asked), pictures(plain, *asked))
    conformance.check_view_completer(ControlNetCompleter(SmoothInpainter()))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"conditioning_channels": 3}, r"conditioning_channels: 3, wanted 4: the points' colours and their mask"),
        ({"latents": 9}, r"in_channels: 9, wanted 4, as the inpainter's network has it"),
    ],
)
def test_a_controlnet_for_another_condition_or_network_is_named(completer, checkpoints, tmp_path, made, message):
    path = save_controlnet(tmp_path / "controlnet", checkpoints["sdxl"], **made)
    with pytest.raises(UserError, match=message) as caught:
        completer(path=path).load(RUNTIME)
    assert "\n" not in str(caught.value)


def test_a_controlnet_of_another_kind_of_network_is_named(completer, checkpoints):
    with pytest.raises(UserError, match=r"completer: .*controlnet_sd: cross_attention_dim: 32, wanted 64"):
        completer("sdxl", path=checkpoints["controlnet_sd"]).load(RUNTIME)
    with pytest.raises(UserError, match=r"completer\.inpainter: FluxFillPipeline, wanted one of StableDiffusionXLInp"):
        completer("flux", path=checkpoints["controlnet_sd"]).load(RUNTIME)
    with pytest.raises(UserError, match=r".*sd/unet: .* missing among the weights"):
        completer("sd", path=checkpoints["sd"] / "unet").load(RUNTIME)
    with pytest.raises(UserError, match=r"completer\.path: .*scheduler: no config\.json in it, wanted a ControlNet"):
        completer("sd", path=checkpoints["sd"] / "scheduler").load(RUNTIME)


def test_an_inpainter_that_cannot_be_steered_costs_no_time():
    with pytest.raises(UserError, match=r"completer\.inpainter: SmoothInpainter, wanted one of SDXL or Stable Diffus"):
        ControlNetCompleter(SmoothInpainter(), controlnet="owner/name")
    with pytest.raises(UserError, match=r"completer\.until: 0, wanted more than 0 and at most 1"):
        ControlNetCompleter(SmoothInpainter(), until=0)


def test_a_controlnet_that_is_not_here_is_named(completer):
    adapter = completer()
    adapter.path, adapter.controlnet = None, "no/such"
    with pytest.raises(UserError, match=r"no/such is not in the local hub cache; completer\.download=true fetches it"):
        adapter.load(RUNTIME)


def test_the_choice_runs_beside_its_inpainter_in_one_pool(checkpoints):
    config = OmegaConf.create({group: choice(group, name) for group, name in CHOSEN.items()})
    config.inpainter.path, config.inpainter.steps = str(checkpoints["sdxl"]), 2
    config.completer.path = str(checkpoints["controlnet_sdxl"])
    pool = Pool(OmegaConf.to_container(config, resolve=True), RUNTIME)
    pool.load(["completer"])
    assert pool["completer"].inpainter is pool["inpainter"]
    assert pictures(pool["completer"], *incomplete(1)).shape == (1, 3, 64, 64)
    pool.release_all_but(["inpainter"])
    assert pool["inpainter"].pipe is not None
    pool.release_all_but([])
    assert pool["completer"]._pipe is None


def test_the_choice_without_a_controlnet_takes_any_inpainter():
    config = choice("completer", "controlnet")
    config.inpainter = {"_target_": "tests.fakes.SmoothInpainter"}
    assert instantiate(config).weights == ()

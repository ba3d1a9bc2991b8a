"""Diffusion adapters run diffusers' own pipelines on tiny checkpoints in the hub's layout; what they answer."""

import pytest
import torch

pytest.importorskip("diffusers")

from tests.tiny_diffusion import apart, views
from worldgen.config import choice, choices, instantiate
from worldgen.errors import UserError
from worldgen.models import conformance
from worldgen.models.recorded import RecordedInpainter
from worldgen.models.runtime import Runtime
from worldgen.types import Prompt

CHECKPOINT = {
    "flux_fill": "flux",
    "sd15": "sd",
    "sd15_lcm": "sd",
    "sd2": "sd",
    "small_diffusion": "sd",
}  # others: by their names


SLOWLY = [pytest.param(name, marks=pytest.mark.slow) for name in ("sd", "flux", "z_image", "text_to_image")]


@pytest.mark.parametrize("name", ["sdxl", *SLOWLY])  # of the others see test_every_choice_runs
def test_inpainters_keep_their_contract(inpainter, name):
    conformance.check_inpainter(inpainter(name, strength=0.99))


@pytest.mark.slow
def test_qwen_image_is_guided_in_its_own_way(inpainter):
    guided = inpainter("qwen_image", guidance=None, negative_prompt=" ", options={"true_cfg_scale": 4.0})
    conformance.check_inpainter(guided)
    assert apart(guided(*views(1)), inpainter("qwen_image", guidance=None)(*views(1))) > 5


@pytest.mark.parametrize(
    "name", ["text_to_image", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sd_text_to_image", "z_image"))]
)
def test_refiners_keep_their_contract(refiner, name):
    conformance.check_image_to_image(refiner(name))


def test_views_of_a_batch_are_as_if_painted_alone_in_any_order(inpainter):
    one_by_one, together = inpainter(), inpainter(runtime=Runtime(batch=2))
    sizes = []
    together.pipe.unet.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    rgb, known, prompts, seeds = views()
    alone = one_by_one(rgb, known, prompts, seeds)
    assert apart(together(rgb, known, prompts, seeds), alone) <= 1
    assert sizes == [4, 4, 2, 2]  # pairs for guidance, two views and then one, two steps each
    reverse = together(rgb.flip(0), known.flip(0), prompts[::-1], seeds[::-1]).flip(0)
    assert apart(reverse, alone) <= 1


def test_prompts_seeds_guidance_and_what_shall_not_be_there_count(inpainter):
    rgb, known, prompts, seeds = views(1)
    adapter = inpainter()
    before = adapter(rgb, known, prompts, seeds)
    assert apart(adapter(rgb, known, [Prompt("a dark cave")], seeds), before) > 5
    assert apart(adapter(rgb, known, prompts, [99]), before) > 5
    without = inpainter(negative_prompt="people")(rgb, known, prompts, seeds)
    assert apart(without, before) > 5
    unwanted = [Prompt(prompts[0].text, negative="people")]
    assert apart(adapter(rgb, known, unwanted, seeds), without) <= 1
    both = inpainter(negative_prompt="people, cars")(rgb, known, prompts, seeds)
    assert apart(inpainter(negative_prompt="people")(rgb, known, [Prompt(prompts[0].text, "cars")], seeds), both) <= 1
    assert apart(inpainter(guidance=2.0)(rgb, known, prompts, seeds), before) > 5
    assert apart(inpainter(steps=3)(rgb, known, prompts, seeds), before) > 5
    assert apart(inpainter(options={"guidance_rescale": 0.7})(rgb, known, prompts, seeds), before) > 5


def test_a_view_without_holes_costs_nothing(inpainter):
    adapter = inpainter()
    adapter.pipe.unet.register_forward_pre_hook(lambda *_: pytest.fail("was asked"))
    rgb = views(1)[0]
    assert apart(adapter(rgb, torch.ones(1, 64, 64), [Prompt("a")], [1]), rgb) <= 0.5001


@pytest.mark.parametrize("name", ["sdxl", "sd", "flux"])
def test_sizes_that_cannot_be_halved_are_continued_and_cut(inpainter, name):
    adapter, seen = inpainter(name), []
    encode = adapter.pipe.vae.encode
    adapter.pipe.vae.encode = lambda pixels, *rest, **more: (
        seen.append(tuple(pixels.shape[-2:])) or encode(pixels, *rest, **more)
    )
    rgb, known, prompts, seeds = views(1, height=50, width=61)
    painted = adapter(rgb, known, prompts, seeds)
    assert painted.shape == (1, 3, 50, 61)
    assert set(seen) == {(64, 64)}
    assert apart(painted[:, :, 45:], rgb[:, :, 45:]) <= 0.5001


def test_a_killed_run_goes_on_with_the_same_views(inpainter, tmp_path):
    adapter, asked = inpainter(), []
    rgb, known, prompts, seeds = views()
    whole = torch.cat(
        [adapter(rgb[n : n + 1], known[n : n + 1], prompts[n : n + 1], seeds[n : n + 1]) for n in range(3)]
    )
    recorded = RecordedInpainter(adapter, tmp_path)
    for number in range(2):
        recorded(rgb[number : number + 1], known[number : number + 1], [prompts[number]], [seeds[number]])
    again = inpainter()
    again.pipe.unet.register_forward_pre_hook(lambda *_: asked.append(1))
    resumed = RecordedInpainter(again, tmp_path)
    views_again = [resumed(rgb[n : n + 1], known[n : n + 1], [prompts[n]], [seeds[n]]) for n in range(3)]
    assert torch.equal(torch.cat(views_again), whole)
    assert len(asked) == 2  # two steps of the one view that was missing


def test_a_refiner_does_the_last_part_of_the_denoising(refiner):
    adapter, times = refiner("text_to_image", steps=10), []
    adapter.load(Runtime())
    adapter.pipe.unet.register_forward_pre_hook(lambda _, given: times.append(float(given[1])))
    rgb, _, prompts, seeds = views(1, height=60, width=50)
    painted = adapter(rgb, prompts, seeds, 0.3)
    assert painted.shape == rgb.shape
    assert len(times) == 3
    assert max(times) <= 300  # of 1000
    assert apart(adapter(1 - rgb, prompts, seeds, 0.3), painted) > 5
    with pytest.raises(UserError, match=r"refine\.model\.steps: 10, wanted 20 or more"):
        adapter(rgb, prompts, seeds, 0.05)


@pytest.mark.parametrize("name", [name for name in choices("inpainter") if name != "migan"])
def test_every_choice_runs(checkpoints, name):
    checkpoint = checkpoints[CHECKPOINT.get(name, name if name in checkpoints else "sdxl")]
    config = choice("inpainter", name)
    config.path, config.steps = str(checkpoint), 2
    if config.loras and name.startswith("sdxl"):
        config.loras = [{"model": str(checkpoints["lora"].parent), "file": checkpoints["lora"].name}]
    elif config.loras:  # the suite's small LoRA is for SDXL
        config.loras = []
    adapter = instantiate(config)
    assert adapter.checkpoint.repo == config.model
    adapter.load(Runtime())
    assert adapter(*views(1)).shape == (1, 3, 64, 64)
    assert (adapter.around is None) == (name in ("flux_fill", "z_image", "qwen_image", "small_diffusion"))


def test_the_choice_of_refinement_runs(checkpoints):
    config = choice("refine", "sdxl")
    config.model.path, config.model.steps = str(checkpoints["text_to_image"]), 4
    refine = instantiate(config)
    refine.load(Runtime())
    assert refine.settings.strength == 0.3
    rgb, _, prompts, seeds = views(1)
    assert refine.model(rgb, prompts, seeds, 0.3).shape == rgb.shape

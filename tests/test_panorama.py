"""Panorama synthesis with inpainters that cost nothing, and once with the real network at a small size."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from worldgen.embedded.migan import MiganInpainter
from worldgen.embedded.prefill import QuiltedPrefill
from worldgen.embedded.sharpen import Sharpen
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.geometry.fill import push_pull
from worldgen.recipe.panorama import PanoramaSettings, add_anchor, embed, remove_anchor, soften, synthesize
from worldgen.types import Camera, Prompts, View

PROMPTS = Prompts("all round", "above", "below", indoor=False, source="test")
HEURISTICS = ("anchored", "sequential", "adhoc")
HOOKS = {"prefill": QuiltedPrefill(), "finish": Sharpen()}
RED = torch.tensor([1.0, 0.0, 0.0])


def smooth(rgb, known, prompts, seeds):
    """An inpainter that fills holes smoothly."""
    return torch.stack([push_pull(picture * kept, kept) for picture, kept in zip(rgb, known, strict=True)])


def blue(rgb, known, prompts, seeds):
    """An inpainter that fills holes with one colour, whatever is around them."""
    return torch.where(known[:, None] == 1, rgb, torch.tensor([0.0, 0.0, 1.0])[:, None, None])


def photo(width=96, height=72, fov_deg=80.0) -> View:
    """Sky over ground with some texture, level."""
    generator = torch.Generator().manual_seed(3)
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    rgb = torch.where(
        y < 0.5, torch.tensor([0.5, 0.7, 0.9])[:, None, None], torch.tensor([0.3, 0.5, 0.2])[:, None, None]
    )
    noise = F.interpolate(torch.rand(1, 3, 9, 12, generator=generator), (height, width), mode="bicubic")[0]
    camera = Camera.from_fov(width, height, fov_deg)
    return View(camera, (rgb + 0.2 * (noise - 0.5)).clamp(0, 1), torch.ones(height, width, dtype=torch.bool))


def settings(heuristic="anchored", **others) -> PanoramaSettings:
    return PanoramaSettings(**{"heuristic": heuristic, "width": 256, "view_size": 64, **others})


@pytest.mark.parametrize("heuristic", HEURISTICS)
@pytest.mark.parametrize(("size", "fov_deg"), [((96, 72), 80), ((40, 30), 20), ((128, 96), 120), ((54, 96), 50)])
def test_every_heuristic_fills_everything(heuristic, size, fov_deg):
    made = synthesize(photo(*size, fov_deg), PROMPTS, smooth, settings(heuristic))
    assert made.rgb.shape == (3, 128, 256)
    assert bool(torch.isfinite(made.rgb).all())
    assert made.rgb.min() >= 0
    assert made.rgb.max() <= 1
    assert bool(made.photo.any())
    assert made.rgb.mean((1, 2)).min() > 0.1  # nothing was left black


@pytest.mark.parametrize("heuristic", HEURISTICS)
@pytest.mark.parametrize("hooks", [{}, HOOKS], ids=["plain", "hooks"])
def test_the_photos_own_pixels_stay(heuristic, hooks):
    given = photo()
    made = synthesize(given, PROMPTS, blue, settings(heuristic, **hooks))
    bare = embed(given, 256)
    assert torch.equal(made.photo, bare.photo)
    assert torch.equal(made.rgb[:, made.photo], bare.rgb[:, made.photo].clamp(0, 1))


@pytest.mark.parametrize("heuristic", HEURISTICS)
def test_looking_again_where_the_photo_was_taken_gives_the_photo(heuristic):
    density = 512 / (2 * math.pi)
    width = 2 * round(density * math.tan(math.radians(40)))
    given = photo(width, width * 3 // 4, 80)
    made = synthesize(given, PROMPTS, smooth, settings(heuristic, width=512))
    again = to_perspective(made.rgb, given.camera, "bicubic")
    assert -10 * math.log10(float((again - given.rgb).square().mean())) > 35


def test_the_anchor_never_survives():
    given = photo()
    red = View(given.camera, RED[:, None, None].expand(3, 72, 96).contiguous(), given.known)
    made = synthesize(red, PROMPTS, blue, settings(width=512, view_size=128))
    behind = made.rgb[:, :, torch.arange(512).roll(256)[128:384]]
    assert behind[0].max() < 0.05
    assert made.rgb[0, made.photo].min() > 0.95


def test_the_anchor_is_the_photo_turned_round_and_goes_with_all_that_touched_it():
    bare = embed(photo(), 256)
    held = add_anchor(bare, 4.0)
    anchor = bare.photo.roll(128, 1)
    assert torch.equal(held.rgb[:, anchor], bare.rgb.roll(128, 2)[:, anchor])
    assert held.confidence[anchor].min() == 1
    gone = remove_anchor(held, bare, 4.0)
    assert torch.equal(gone.confidence, bare.confidence)
    assert torch.equal(gone.rgb * gone.confidence, bare.rgb * bare.confidence)


def test_the_inpainter_is_told_what_it_looks_at_and_sees_the_anchor_first():
    told = []

    def listener(rgb, known, prompts, seeds):
        told.append((prompts[0].text, seeds[0]))
        return smooth(rgb, known, prompts, seeds)

    synthesize(photo(), PROMPTS, listener, settings(), seed=5)
    prompts = [prompt for prompt, _ in told]
    assert prompts[:4] == ["above", "above", "below", "below"]
    assert "all round" in prompts[4:]
    assert all(a < b for (_, a), (_, b) in itertools.pairwise(told))
    assert told[0][1] == 5


def test_adhoc_asks_once():
    calls = []

    def counter(rgb, known, prompts, seeds):
        calls.append(rgb.shape)
        return smooth(rgb, known, prompts, seeds)

    synthesize(photo(), PROMPTS, counter, settings("adhoc"))
    assert len(calls) == 1


def test_with_a_prefill_the_network_closes_gaps_and_is_shown_most_of_every_view():
    shares = []

    def watcher(rgb, known, prompts, seeds):
        shares.append(float(known.float().mean()))
        return smooth(rgb, known, prompts, seeds)

    synthesize(photo(), PROMPTS, watcher, settings(**HOOKS))
    assert min(shares) > 0.45


@pytest.mark.parametrize("heuristic", HEURISTICS)
def test_left_and_right_edge_meet(heuristic):
    rgb = synthesize(photo(), PROMPTS, smooth, settings(heuristic)).rgb
    steps = (rgb - rgb.roll(1, 2)).abs().mean((0, 1))
    beside = torch.cat([steps[2:12], steps[-12:-2]]).mean()
    assert steps[0] <= 1.5 * beside + 1 / 255


def test_the_same_seed_gives_the_same_panorama_another_one_another():
    made = [synthesize(photo(), PROMPTS, smooth, settings(**HOOKS), seed=seed).rgb for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.slow
@pytest.mark.parametrize("heuristic", ["adhoc", "anchored"])  # 1 call; 11 calls
def test_the_network_paints_a_small_panorama(heuristic):
    made = synthesize(photo(), PROMPTS, MiganInpainter(), settings(heuristic, view_size=128, **HOOKS))
    horizon = to_perspective(made.rgb, Camera.from_fov(32, 32, 60.0, look_at(180.0)))
    assert (horizon[2, :12].mean() - horizon[2, 20:].mean()) > 0.2  # blue sky over green ground at the back, too


def test_soft_masks_are_0_in_holes_and_1_away_from_them():
    known = torch.ones(40, 40, dtype=torch.bool)
    known[:, 20:] = False
    soft = soften(known, 2.0)
    assert soft[:, 20:].max() == 0
    assert soft[:, :13].min() == 1
    assert bool((soft[0, 12:20].diff() <= 0).all())
    assert bool((soft[0, 14:19] > 0).all() and (soft[0, 14:19] < 1).all())
    assert torch.equal(soften(known, 0.0), known.float())


def test_the_inpainter_is_given_soft_masks_where_they_are_asked_for():
    masks = []

    def listener(rgb, known, prompts, seeds):
        masks.append(known)
        return smooth(rgb, known, prompts, seeds)

    given = photo()
    made = synthesize(given, PROMPTS, listener, settings(mask_blur=0.03))
    assert any(bool(((mask > 0) & (mask < 1)).any()) for mask in masks)
    bare = embed(given, 256)
    assert torch.equal(made.rgb[:, made.photo], bare.rgb[:, made.photo].clamp(0, 1))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("heuristic", "spiral"),
        ("width", 1001),
        ("view_size", 1),
        ("feather", 0.4),
        ("mask_blur", 0.5),
        ("anchor_gap_deg", 0),
    ],
)
def test_wrong_settings_name_the_key(key, value):
    with pytest.raises(UserError, match=f"panorama.{key}"):
        PanoramaSettings(**{key: value})

"""Matching of colour and texture: what it leaves alone, and how much of a planted fault it takes away."""

import pytest
import torch

from tests.fakes import SmoothInpainter
from worldgen.errors import UserError
from worldgen.geometry.equirect import to_perspective
from worldgen.geometry.fill import blur
from worldgen.geometry.style_statistics import MOST_SHIFT, fade_in, match_statistics
from worldgen.recipe.panorama import Canvas, PanoramaSettings, paint_view
from worldgen.recipe.schedules import ViewSpec
from worldgen.recipe.style import StatisticsMatch
from worldgen.types import Camera, Prompt

SIZE = 128
ALL = torch.ones(SIZE, SIZE, dtype=torch.bool)
RIGHT = ALL.clone()
RIGHT[:, : SIZE // 2] = False
DEEP = fade_in(RIGHT) > 0.99  # where the change is whole


def textured(seed: int = 0) -> torch.Tensor:
    """[3, SIZE, SIZE]: a texture alike all over, with detail of every band and colours of its own."""
    noise = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return (0.5 + 0.3 * (noise - 0.5) + 1.2 * (blur(noise, 2.0) - 0.5)).clamp(0.05, 0.95)


def matched(painted: torch.Tensor, colour: float = 1.0, texture: float = 1.0, most: float = 4.0) -> torch.Tensor:
    return match_statistics(painted, RIGHT, textured(), ALL, colour, texture, most)


def planted(fault: torch.Tensor) -> torch.Tensor:
    return torch.where(RIGHT, fault, textured())


def fine(rgb: torch.Tensor) -> float:
    """The spread of the finest detail, in the invented part."""
    return float((rgb - blur(rgb, 1.0))[:, DEEP].std())


def test_where_statistics_agree_all_stays():
    same = match_statistics(textured(), ALL, textured(), ALL, 1.0, 1.0, 4.0)
    torch.testing.assert_close(same, textured(), atol=1e-5, rtol=0)
    assert (matched(textured()) - textured()).abs().max() < 0.06  # of half of it: chance alone


def test_a_blur_loses_half_of_its_lack_of_detail():
    soft = planted(blur(textured(), 0.8))
    lack = fine(textured()) - fine(soft)
    assert lack > 0.03
    assert abs(fine(textured()) - fine(matched(soft))) < 0.5 * lack


def test_a_loss_of_contrast_is_halved():
    pale = planted(0.5 + 0.4 * (textured() - 0.5))
    spread = [float(rgb[:, DEEP].std()) for rgb in (textured(), pale, matched(pale))]
    assert spread[0] - spread[2] < 0.5 * (spread[0] - spread[1])


def test_a_cast_shrinks_by_what_the_clamp_allows_and_brightness_stays():
    cast = torch.tensor([0.06, -0.06, 0.0])[:, None, None]
    tinted = planted((textured() + cast).clamp(0, 1))
    before, after = (rgb[:, DEEP].mean(1) for rgb in (tinted, matched(tinted, texture=0.0, most=1.0)))
    assert float((before - after)[0] - (before - after)[1]) == pytest.approx(MOST_SHIFT, abs=2e-3)
    assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-3)


def test_another_content_keeps_its_brightness_and_its_colour_but_for_the_clamp():
    sky = planted(torch.tensor([0.5, 0.7, 0.95])[:, None, None].expand(3, SIZE, SIZE))
    change = (matched(sky) - sky)[:, DEEP].mean(1)
    assert change.abs().max() < 1.5 * MOST_SHIFT


def test_known_pixels_stay_to_the_bit_and_the_border_has_no_step():
    pale = planted(0.5 + 0.4 * (textured() - 0.5))
    found = matched(pale)
    assert torch.equal(found[:, ~RIGHT], pale[:, ~RIGHT])
    change = (found - pale).abs()
    assert change[:, :, SIZE // 2].max() < 0.2 * change[:, DEEP].max()
    assert not torch.equal(found, pale)


def test_without_strength_or_pixels_nothing_happens():
    pale = planted(0.5 + 0.4 * (textured() - 0.5))
    torch.testing.assert_close(matched(pale, 0.0, 0.0), pale)
    assert torch.equal(match_statistics(pale, ~ALL, textured(), ALL, 1, 1, 2), pale)
    assert torch.equal(match_statistics(pale, RIGHT, textured(), ~ALL, 1, 1, 2), pale)


def test_in_a_view_across_the_back_both_ends_go_on_as_one():
    """A photo ahead, nothing else: the same change left and right of the panorama's edge, known pixels as they were."""
    photo = torch.zeros(128, 256, dtype=torch.bool)
    photo[40:88, 90:166] = True
    wide = torch.cat([textured(), textured(1)], dim=2)
    canvas = Canvas(wide * photo, photo.float(), photo)
    view = ViewSpec(180.0, 0.0, 85.0, "atmosphere")
    calls: list[torch.Tensor] = []

    def match(painted, invented, shown, own):
        assert own.any()
        assert invented.all()
        camera = Camera.from_fov(64, 64, 85.0)
        torch.testing.assert_close(shown, to_perspective(canvas.rgb, camera, "bicubic").clamp(0, 1))
        calls.append(painted)
        return torch.full_like(painted, 0.25)

    settings = PanoramaSettings(width=256, view_size=64, style_match=match)
    found = paint_view(canvas, view, Prompt("a place"), SmoothInpainter(), settings, 0)
    assert len(calls) == 1
    assert torch.equal(found.rgb[:, photo], canvas.rgb[:, photo])
    torch.testing.assert_close(found.rgb[:, 64, :10].flip(1), found.rgb[:, 64, -10:])
    assert found.rgb[:, 64, 0].sub(0.25).abs().max() < 1e-3


def test_mistakes_name_the_key():
    with pytest.raises(UserError, match=r"panorama\.style_match\.colour: 2, wanted 0 to 1"):
        StatisticsMatch(colour=2)
    with pytest.raises(UserError, match=r"panorama\.style_match\.most_gain: 0\.5, wanted"):
        StatisticsMatch(most_gain=0.5)

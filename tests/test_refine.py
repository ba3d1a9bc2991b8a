"""Refinement: new detail outside the photo, the photo itself as it was, and nothing painted twice."""

import pytest
import torch

from tests.outdoors import meadow
from worldgen.errors import UserError
from worldgen.recipe.refine import NoRefiner, RefineSettings, ViewRefiner
from worldgen.types import Panorama, Prompts

PROMPTS = Prompts("all round", "above", "below", indoor=False, source="test")
SETTINGS = RefineSettings(view_size=64, border_deg=10.0)


class Model:
    """Makes of every view what `change` makes of it, and remembers what it was asked."""

    def __init__(self, change):
        self.change, self.asked = change, []

    def __call__(self, rgb, prompts, seeds, strength):
        self.asked.append((prompts[0].text, seeds[0], strength))
        return (self.change(rgb).clamp(0, 1) * 255).round() / 255


@pytest.fixture(scope="module")
def panorama() -> Panorama:
    smooth = torch.nn.functional.avg_pool2d(meadow(128)[0].rgb[None], 5, stride=1, padding=2, count_include_pad=False)[
        0
    ]
    photo = torch.zeros(128, 256, dtype=torch.bool)
    photo[44:84, 100:156] = True
    return Panorama(smooth, photo)


def test_a_model_that_changes_nothing_changes_next_to_nothing(panorama, tmp_path):
    refined = ViewRefiner(Model(lambda rgb: rgb), SETTINGS)(panorama, PROMPTS, tmp_path)
    assert torch.equal(refined.rgb[:, panorama.photo], panorama.rgb[:, panorama.photo])
    assert (refined.rgb - panorama.rgb).abs().quantile(0.95) < 0.05


def test_all_but_the_photo_is_refined_and_the_border_is_soft(panorama, tmp_path):
    red = Model(lambda rgb: torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand_as(rgb))
    refined = ViewRefiner(red, SETTINGS)(panorama, PROMPTS, tmp_path)
    assert torch.equal(refined.rgb[:, panorama.photo], panorama.rgb[:, panorama.photo])
    assert refined.rgb[0, :, :80].min() > 0.99
    assert refined.rgb[1, :, :80].max() < 0.01
    across = refined.rgb[1, 64, 150:170]  # from the photo into the red: no steep step
    assert across.diff().abs().max() < 0.3 * (across.max() - across.min())
    prompts, seeds, strengths = zip(*red.asked, strict=True)
    assert (prompts.count("all round"), prompts.count("above"), prompts.count("below")) == (8, 4, 4)
    assert seeds == tuple(range(16))
    assert set(strengths) == {0.3}


def test_a_killed_refinement_goes_on_where_it_was(panorama, tmp_path):
    def tired(rgb):
        if len(model.asked) > 5:
            raise KeyboardInterrupt
        return rgb * 0.9

    wanted = ViewRefiner(Model(lambda rgb: rgb * 0.9), SETTINGS)(panorama, PROMPTS, tmp_path / "undisturbed")
    model = Model(tired)
    with pytest.raises(KeyboardInterrupt):
        ViewRefiner(model, SETTINGS)(panorama, PROMPTS, tmp_path / "views")
    again = Model(lambda rgb: rgb * 0.9)
    made = ViewRefiner(again, SETTINGS)(panorama, PROMPTS, tmp_path / "views")
    assert len(again.asked) == 16 - 5
    assert torch.equal(made.rgb, wanted.rgb)


def test_without_a_model_there_is_nothing_to_refine(panorama, tmp_path):
    assert NoRefiner()(panorama, PROMPTS, tmp_path) is None


@pytest.mark.parametrize(("key", "value"), [("view_size", 1), ("strength", 0.0), ("feather", 0.5), ("border_deg", 0.0)])
def test_wrong_settings_name_the_key(key, value):
    with pytest.raises(UserError, match=rf"refine\.settings\.{key}"):
        RefineSettings(**{key: value})

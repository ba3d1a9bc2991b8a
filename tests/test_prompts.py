"""Prompts from statistics and from a person's file: pytest tests/test_prompts.py"""

import json

import pytest
import skimage.data
import torch

from tests.outdoors import meadow_view
from worldgen.embedded.template_prompts import TemplatePrompter, indoor_probability
from worldgen.errors import UserError
from worldgen.runs.artifacts import load_prompts, save_prompts
from worldgen.types import Prompts

PHOTOS = [("astronaut", True), ("motorcycle", True), ("rocket", False)]


def photo(name):
    picture = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    return torch.from_numpy(picture.copy()).movedim(-1, 0).float() / 255


def meadow():
    return meadow_view(width=320, height=240).rgb


def room():
    torch.manual_seed(0)
    picture = torch.tensor([0.72, 0.66, 0.58])[:, None, None].repeat(1, 240, 320)
    picture[:, 180:] = torch.tensor([0.35, 0.25, 0.18])[:, None, None]
    picture[:, :40] *= 0.9
    for left in (20, 90, 200):
        picture[:, 60:180, left : left + 40] = torch.tensor([0.3, 0.2, 0.15])[:, None, None]
        picture[:, 70:120, left + 5 : left + 35] *= 0.4
    return picture


def street(sky, houses=0.3):
    """Grey walls, as straight as a room's, on both sides of a strip of sky; sky, houses: RGB or one value."""
    picture = room().mean(0, keepdim=True).repeat(3, 1, 1) * houses / 0.5
    picture[:, :70, 140:200] = torch.as_tensor(sky).reshape(-1, 1, 1)
    return picture


def test_a_street_under_a_blue_sky_is_outdoors_however_much_else_looks_like_a_room():
    assert indoor_probability(street([0.3, 0.3, 0.3])) > 0.5
    prompts = TemplatePrompter()(street([0.35, 0.5, 0.8]))
    assert not prompts.indoor
    assert "outdoor guessed from a blue sky (90% sure)" in prompts.source


def test_a_white_sky_is_a_sign_but_a_white_ceiling_leaves_a_room_a_room():
    assert indoor_probability(street(0.9)) < indoor_probability(street(0.3)) - 0.01
    picture = room()
    picture[:, :60] = 0.85
    assert indoor_probability(picture) > 0.5
    assert "colour and texture" in TemplatePrompter()(picture).source


@pytest.mark.parametrize(("name", "indoor"), PHOTOS)
def test_photos_are_told_apart(name, indoor):
    assert TemplatePrompter()(photo(name)).indoor == indoor


def test_a_meadow_is_outdoors_and_a_room_is_not():
    torch.manual_seed(0)
    assert indoor_probability(meadow()) < 0.2
    assert indoor_probability(room()) > 0.7


@pytest.mark.parametrize("picture", [meadow, room])
def test_resolution_does_not_matter(picture):
    small = torch.nn.functional.interpolate(picture()[None], (120, 160), mode="area")[0]
    large = torch.nn.functional.interpolate(small[None], (480, 640), mode="bilinear", antialias=True)[0]
    assert indoor_probability(small) == pytest.approx(indoor_probability(large), abs=0.1)


def test_the_prompts_say_what_they_are_made_of():
    outdoors, indoors = TemplatePrompter()(meadow()), TemplatePrompter()(room())
    assert "guessed" in outdoors.source
    assert "nothing was recognised" in outdoors.source
    assert "sky" in outdoors.sky
    assert "ceiling" in indoors.sky
    assert "ground" in outdoors.ground
    assert "floor" in indoors.ground
    assert "green" in outdoors.ground
    assert "blue" in outdoors.sky


@pytest.mark.parametrize("size", [(3, 20, 20), (3, 500, 40), (3, 40, 2000)])
def test_any_picture_gets_prompts(size):
    for picture in (torch.zeros(size), torch.ones(size), torch.rand(size)):
        assert 0 < indoor_probability(picture) < 1


def test_prompts_survive_their_file(tmp_path):
    prompts = Prompts("Gärten am Fluß", "blauer Himmel", "Kies", False, "by hand")
    save_prompts(tmp_path / "prompts.json", prompts)
    loaded = load_prompts(tmp_path / "prompts.json")
    assert vars(loaded) == vars(prompts)
    assert "negative" not in (tmp_path / "prompts.json").read_text()


def test_what_no_view_shall_show_survives_its_file(tmp_path):
    prompts = Prompts("a garden", "blue sky", "gravel", False, "by hand", negative="people, text")
    save_prompts(tmp_path / "prompts.json", prompts)
    assert load_prompts(tmp_path / "prompts.json").negative == "people, text"


def test_a_person_may_leave_the_source_out(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"atmosphere": "a", "sky": "b", "ground": "c", "indoor": True}))
    assert load_prompts(path).source == "written by hand"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "found list"),
        ('{"atmosphere": "a", "sky": "b", "ground": "c"}', "no key 'indoor', wanted true or false"),
        ('{"atmosphere": "a", "sky": "b", "ground": "c", "indoor": "yes"}', "indoor is 'yes', wanted true or false"),
        ('{"atmosphere": "a", "sky": 3, "ground": "c", "indoor": true}', "sky is 3, wanted text"),
        ('{"atmosphere": "a", "sky": "b", "ground": "c", "indoor": true, "sun": "d"}', "unknown key 'sun'"),
        ('{"atmosphere": "a", "sky": "b", "ground": "c", "indoor": true, "negative": 1}', "negative is 1, wanted text"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        load_prompts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"prompts\.json: No such file"):
        load_prompts(tmp_path / "prompts.json")

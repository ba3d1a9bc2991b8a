"""Prompts from what is recognised: by known posteriors, by a network with random weights, and by the real one."""

import re
from pathlib import Path

import pytest
import torch
from test_efficientnet_lite import random_weights

from eval.synthetic.panoramas import read_rgb
from tests.outdoors import meadow_view
from worldgen.config import compose
from worldgen.embedded.efficientnet_lite import SIZE
from worldgen.embedded.recognised_prompts import RecognisingPrompter, in_words, pieces, read
from worldgen.embedded.scene_classes import SCENE_CLASSES
from worldgen.errors import UserError
from worldgen.models import assets
from worldgen.models.conformance import check_prompter, picture
from worldgen.models.runtime import Runtime

COUNT = 1000  # ImageNet's classes

EXAMPLE = Path(__file__).parents[1] / "examples" / "venice.jpg"
TABBY, TRIPOD = 281, 872  # which tell nothing


def posterior(rest: int = TABBY, **likely: float) -> torch.Tensor:
    """[1000]: so likely are classes by their names, `rest` is all else."""
    numbers = {one.name.replace(" ", "_"): one.number for one in SCENE_CLASSES}
    found = torch.zeros(COUNT)
    for name, share in likely.items():
        found[numbers[name]] = share
    found[rest] += 1 - found.sum()
    return found


@pytest.fixture(scope="module")
def random_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_weights(), path)
    return path


def test_what_is_recognised_is_told_and_the_place_named():
    reading = read(posterior(alp=0.5, valley=0.3, church=0.15))
    assert not reading.indoor
    assert reading.sure == pytest.approx(1.0 / 1.05)
    prompts = in_words(meadow_view(width=320, height=240).rgb, reading)
    assert prompts.atmosphere.startswith("an outdoor landscape: mountains, historic buildings, in ")
    assert prompts.source == "recognised by EfficientNet-Lite0: alp (50%), valley (30%); outdoor (95% sure)"
    assert prompts.sky == "blue sky, empty"
    assert prompts.ground == "green ground, open"


def test_things_that_stand_in_one_place_name_it_together():
    reading = read(posterior(stove=0.06, microwave=0.06, refrigerator=0.06))
    assert reading.places == {"kitchen": pytest.approx(0.18)}
    assert reading.things == {}
    prompts = in_words(torch.full((3, 60, 80), 0.5), reading)
    assert prompts.indoor
    assert prompts.atmosphere.startswith("an indoor room: kitchen, in even light")
    assert prompts.source.startswith(
        "recognised by EfficientNet-Lite0: several things of one place, kitchen (18%); indoor ("
    )
    assert prompts.sky == "grey ceiling, plain"
    assert prompts.ground == "grey floor, plain"


def test_only_places_of_the_side_that_was_decided_for_are_named():
    reading = read(posterior(library=0.6, seashore=0.2))
    assert list(reading.places) == ["library"]
    assert list(reading.things) == ["library", "seashore"]


@pytest.mark.parametrize("rest", [TABBY, TRIPOD])
def test_what_tells_nothing_is_not_named_and_leaves_a_room_in_doubt(rest):
    reading = read(posterior(rest))
    assert reading == (True, 0.5, {}, {})
    source = in_words(torch.zeros(3, 60, 80), reading).source
    assert source == "EfficientNet-Lite0 recognised nothing that tells of a place; indoor (50% sure)"


def test_the_likelier_side_is_taken():
    inside, outside = read(posterior(alp=0.3, desk=0.4)), read(posterior(alp=0.3, desk=0.2))
    assert inside.indoor
    assert inside.sure == pytest.approx(0.45 / 0.8)
    assert not outside.indoor
    assert outside.sure == pytest.approx(0.35 / 0.6)


def test_that_some_of_many_wild_animals_are_likely_in_noise_recognises_none():
    found = torch.full((COUNT,), 0.8 / COUNT)
    found[TABBY] += 0.2
    assert read(found).things == {}


def test_wild_animals_count_together():
    found = torch.zeros(COUNT)
    found[[17, 18, 291]] = torch.tensor([0.4, 0.3, 0.3])  # jay, magpie, lion
    assert read(found) == (False, pytest.approx(1.05 / 1.1), {}, {"wild animal": pytest.approx(1.0)})


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(90, 120, 1), (120, 90, 1), (100, 400, 4), (400, 100, 4), (90, 160, 2), (4, 400, 8), (1, 1, 1)],
)
def test_long_pictures_are_looked_at_in_pieces(height, width, count):
    rgb = torch.linspace(0, 1, width).expand(3, height, width)
    found = pieces(rgb)
    assert found.shape == (count, 3, SIZE, SIZE)
    if width > height and count > 1:
        assert (found.mean((1, 2, 3)).diff() > 0).all()


def test_a_picture_of_the_right_size_stays_as_it_is():
    rgb = torch.rand(3, SIZE, SIZE)
    torch.testing.assert_close(pieces(rgb)[0], rgb)


def test_it_keeps_its_contract_whatever_the_weights(random_file, monkeypatch):
    monkeypatch.setattr(assets, "fetch", lambda name: random_file)
    check_prompter(RecognisingPrompter())


def test_it_is_loaded_where_a_step_begins_and_released(random_file, monkeypatch):
    monkeypatch.setattr(assets, "fetch", lambda name: random_file)
    prompter = RecognisingPrompter()
    assert prompter._loaded is None
    prompter.load(Runtime())
    first = prompter._loaded
    prompter.load(Runtime())
    assert prompter._loaded is first
    prompter.release()
    assert prompter._loaded is None
    grey = picture().mean(0, keepdim=True).expand(3, -1, -1)
    assert prompter(grey).source == prompter(grey).source


def test_the_medium_is_asked_of_others():
    with pytest.raises(UserError, match=r"prompts\.style: True, wanted false: .* prompts=vlm names it"):
        RecognisingPrompter(style=True)


def test_the_example_photo_is_outdoors():
    prompts = RecognisingPrompter()(read_rgb(EXAMPLE))
    assert not prompts.indoor
    assert "monastery" in prompts.source
    assert "historic buildings" in prompts.atmosphere
    assert int(re.search(r"(\d+)% sure", prompts.source)[1]) > 80


def test_a_run_of_the_embedded_profile_fetches_the_network_ahead_and_not_one_that_has_another_prompter():
    assert "efficientnet" in assets.needed(compose("photo.jpg"))
    assert "efficientnet" in assets.needed(compose("photo.jpg", ["profile=laptop"]))
    assert "efficientnet" not in assets.needed(compose("photo.jpg", ["profile=paper"]))

"""Prompts in a person's file."""

import json

import pytest

from worldgen.errors import UserError
from worldgen.runs.artifacts import load_prompts, save_prompts
from worldgen.types import Prompts


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

"""What a language model says about a photo is found, checked, asked for once more, and never let through broken."""

import json
import sys

import pytest

from worldgen.errors import UserError
from worldgen.models.scene_answers import describe
from worldgen.models.scene_questions import question

GOOD = {
    "indoor": False,
    "atmosphere": "a quiet meadow in warm evening light",
    "sky": "orange sky with thin clouds",
    "ground": "short green grass",
    "negative": "a second barn",
}
TEXT = json.dumps(GOOD)


class Model:
    """Says its lines one after the other, and keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, turns) -> str:
        self.asked.append(list(turns))
        return self.answers.pop(0)


def changed(**values) -> str:
    return json.dumps(GOOD | values)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"Sure! Here is the description you asked for:\n\n{TEXT}\n\nLet me know {{if}} it helps.",
        f"<think>Perhaps {changed(sky='a lie')}</think>\n{TEXT}",
        f'As in {{"indoor": true}}, so: {TEXT}',
        f"First {changed(sky='no')}. On reflection: {TEXT}",
        changed(indoor="False", note="more than was asked for"),
        changed(ground=" short\n green\tgrass.  ", sky="orange sky\ud800 with thin clouds\u0000"),
    ],
)
def test_an_answer_is_found_in_what_is_round_it(answer):
    model = Model(answer)
    prompts = describe(model, "a model")
    assert len(model.asked) == 1
    assert vars(prompts) == GOOD | {"source": "a model"}


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("", "no JSON object in it"),
        ("A meadow at dusk.", "no JSON object in it"),
        (TEXT[:-20], "no whole JSON object in it"),
        ("[1, 2]", "no JSON object in it"),
        ('{"a": ' * 3000, "no whole JSON object in it"),
        (without("sky"), "no key sky"),
        (without("negative"), "no key negative"),
        (changed(indoor="maybe"), 'indoor is "maybe", wanted true or false'),
        (changed(indoor=None), 'indoor is "null", wanted true or false'),
        (changed(indoor=1), 'indoor is "1", wanted true or false'),
        (changed(sky=["blue", "wide"]), r'sky is "\["blue", "wide"\]", wanted text'),
        (changed(ground=""), "ground says nothing"),
        (changed(ground="..."), "ground says nothing"),
        (changed(atmosphere="very " * 200), "atmosphere has 999 characters, wanted at most 30 words"),
    ],
)
def test_what_is_malformed_is_asked_for_once_more_and_then_told(answer, wrong):
    model = Model(answer, TEXT)
    assert describe(model, "a model").sky == GOOD["sky"]
    first, second = model.asked
    assert [who for who, _ in second] == ["user", "assistant", "user"]
    assert second[:1] == first
    assert second[1][1] == answer
    with pytest.raises(UserError, match=wrong) as caught:
        describe(Model("nonsense", answer), "owner/name")
    message = str(caught.value)
    assert message.startswith("prompts: owner/name was asked twice and answers ")
    assert message.endswith("wanted another prompts.model, or prompts=recognised")
    assert "\n" not in message
    assert len(message) < 400


def test_no_depth_of_brackets_ends_the_process():
    """With a limit of recursion that other libraries have raised."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        assert describe(Model('{"a": ' * 3000, TEXT), "a model").sky == GOOD["sky"]
        assert describe(Model('{"a": ' + "[" * 19_000, TEXT), "a model").sky == GOOD["sky"]
    finally:
        sys.setrecursionlimit(limit)


def test_the_model_hears_what_was_wrong():
    model = Model(without("sky"), TEXT)
    describe(model, "a model")
    assert "no key sky" in model.asked[1][2][1]


def test_an_error_quotes_the_beginning_of_the_last_answer():
    with pytest.raises(UserError, match=r'answers "I am sorry, I cannot look at pictures\."'):
        describe(Model("Hm.", "I am sorry,\nI cannot look at pictures."), "a model")


def test_nothing_may_be_unwanted():
    assert describe(Model(changed(negative="")), "a model").negative == ""


def test_one_coarse_description_serves_all_directions():
    model = Model(json.dumps({"indoor": True, "atmosphere": "a dim library", "negative": ""}))
    prompts = describe(model, "a model", coarse=True)
    assert prompts.atmosphere == prompts.sky == prompts.ground == "a dim library"
    assert prompts.indoor
    assert '"sky"' not in model.asked[0][0][1]


def test_the_medium_is_added_to_all_three():
    model = Model(changed(medium="oil painting, visible brush strokes"))
    prompts = describe(model, "a model", style=True)
    for name in ("atmosphere", "sky", "ground"):
        assert getattr(prompts, name) == f"{GOOD[name]}, oil painting, visible brush strokes"
    assert prompts.negative == GOOD["negative"]
    assert "medium" in model.asked[0][0][1]
    with pytest.raises(UserError, match="no key medium"):
        describe(Model(TEXT, TEXT), "a model", style=True)


def test_the_question_asks_as_the_paper_does():
    asked = question(coarse=False, style=False)
    for words in ("no people", "no object that stands in the middle", "the ceiling", "the floor", "light", "style"):
        assert words in asked
    assert "medium" not in asked

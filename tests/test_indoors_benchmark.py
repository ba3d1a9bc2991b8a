"""The benchmark of prompters that tell indoors from outdoors: crops of known panoramas, each right or not."""

import json

import pytest

from eval.benchmarks import indoors
from eval.benchmarks.indoors import Answer
from tests.fakes import PlainPrompter
from tests.outdoors import meadow
from worldgen.errors import UserError
from worldgen.types import Prompts


def said(indoor: bool, source: str) -> Prompts:
    return Prompts("a", "b", "c", indoor, source)


def test_an_answer_is_right_or_not_and_so_sure():
    assert indoors.answer_of(said(True, "by a network: oven (20%); indoor (83% sure)"), "indoors") == (True, 83)
    assert indoors.answer_of(said(True, "by hand"), "outdoors") == (False, None)


def test_a_panorama_counts_as_much_as_any_other():
    right, wrong = Answer(True, 90), Answer(False, 90)
    answers = {"lab": [right], "hall": [wrong] * 3, "park": [right, wrong]}
    assert indoors.share_right(answers) == pytest.approx(0.5)
    assert indoors.share_right(answers, "indoors") == pytest.approx(0.5)
    assert indoors.share_right({"lab": [right], "park": [wrong]}, "outdoors") == 0


def test_answers_are_counted_by_how_sure_they_are():
    answers = {
        "lab": [Answer(True, 55), Answer(False, 52), Answer(True, 100)],
        "park": [Answer(True, 97), Answer(True, None)],
    }
    assert indoors.calibration(answers) == {"50-60": (2, 0.5), "90-100": (2, 1.0)}


def test_it_leaves_out_what_is_neither_and_its_last_line_is_json(monkeypatch, capsys):
    open_air = meadow(128)[0].rgb
    monkeypatch.setattr(indoors, "instantiate", lambda config: PlainPrompter())  # all is outdoors
    monkeypatch.setattr(indoors, "_YAWS_DEG", (0, 180))
    names = ("meadow", "bridge", "hall")
    monkeypatch.setattr(indoors, "truth_panoramas", lambda: ((name, open_air) for name in names))
    assert indoors.main(["--prompts", "recognised", "vlm"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["panoramas"] == 2
    assert told["right"] == {who: {"all": 0.5, "indoors": 0.0, "outdoors": 1.0} for who in ("recognised", "vlm")}
    assert told["right_where_sure"] == {"recognised": {}, "vlm": {}}
    monkeypatch.setattr(indoors, "truth_panoramas", lambda: iter([("meadow", open_air)]))
    with pytest.raises(UserError, match="of one kind alone"):
        indoors.main([])

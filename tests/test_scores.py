"""Score files: they come back as written, byte for byte, and broken ones are named."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.scores import Score, read_evaluation, read_scores, scores_text, set_scores, write_scores
from worldgen.errors import UserError

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
values = st.floats(allow_nan=False)
rows = st.lists(st.builds(Score, names, names, names, names, values), unique_by=lambda row: row.key, max_size=20)


def score(method: str, image: str, view: str, value: float, metric: str = "niqe") -> Score:
    return Score(method, image, view, metric, value)


@given(rows, st.randoms())
def test_scores_come_back_exactly_whatever_their_order(tmp_path_factory, rows, random):
    folder = tmp_path_factory.mktemp("scores")
    write_scores(folder, rows, {})
    assert read_scores(folder) == sorted(rows, key=lambda row: row.key)
    shuffled = random.sample(rows, len(rows))
    assert scores_text(shuffled) == (folder / "scores.csv").read_text(encoding="utf-8")


def test_the_file_is_what_the_contract_says(tmp_path):
    evaluation = {"protocol": {"name": "images"}, "metrics": {}, "methods": {"ä": {"path": "x"}}}
    found = [score("b", "two, with comma", "v", math.inf), score("a", "one", "v", 0.1 + 0.2)]
    write_scores(tmp_path / "new" / "folder", found, evaluation)
    text = (tmp_path / "new" / "folder" / "scores.csv").read_text()
    assert text == (
        'method,image,view,metric,value\na,one,v,niqe,0.30000000000000004\nb,"two, with comma",v,niqe,inf\n'
    )
    assert read_evaluation(tmp_path / "new" / "folder") == evaluation
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {"scores.csv", "evaluation.json"}


def test_a_picture_is_scored_once(tmp_path):
    with pytest.raises(ValueError, match="a one v niqe: scored twice"):
        write_scores(tmp_path, [score("a", "one", "v", 1.0), score("a", "one", "v", 2.0)], {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with nothing, wanted method,image,view,metric,value"),
        ("method,image\n", "begins with method,image, wanted"),
        ("method,image,view,metric,value\na,b,c,d\n", "line 2 has 4 columns, wanted 5"),
        ("method,image,view,metric,value\na,b,c,d,good\n", "line 2 has the value 'good', wanted a number"),
        ("method,image,view,metric,value\na,b,c,d,1\na,b,c,d,2\n", "line 3 scores a b c d a second time"),
        ('method,image,view,metric,value\n"a', "not a table that can be read"),
    ],
)
def test_broken_scores_are_named_in_one_line(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        read_scores(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "scores.csv") in str(caught.value)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"scores\.csv: no such file, wanted what `python -m eval"):
        read_scores(tmp_path)
    (tmp_path / "scores.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_scores(tmp_path)
    for text, message in [("{", "not valid JSON"), ("[]", "holds a list, wanted a JSON object")]:
        (tmp_path / "evaluation.json").write_text(text)
        with pytest.raises(UserError, match=message):
            read_evaluation(tmp_path)


def test_infinite_values_stay(tmp_path):
    found = [score("a", "one", "v", math.inf, "psnr"), score("a", "two", "v", 30.0, "psnr")]
    write_scores(tmp_path, found, {})
    assert read_scores(tmp_path) == found


def test_what_was_to_be_had_and_could_not_stays_as_no_number(tmp_path):
    write_scores(tmp_path, [score("a", "one", "v", math.nan)], {})
    assert math.isnan(read_scores(tmp_path)[0].value)


def test_paths_of_any_bytes_come_back(tmp_path):
    """Old zips leave names in Latin-1: no UTF-8, lone surrogates to Python."""
    evaluation = {"methods": {"m": {"path": b"caf\xe9/\xc3\xbc".decode("utf-8", "surrogateescape")}}}
    write_scores(tmp_path, [], evaluation)
    assert read_evaluation(tmp_path) == evaluation
    assert "ü" in (tmp_path / "evaluation.json").read_text(encoding="utf-8")


def test_whole_sets_are_apart():
    found = [score("a", "all", "all", 12.5, "fid"), score("a", "one", "v", 3.0)]
    assert set_scores(found) == {"fid": {"a": 12.5}}


def test_evaluations_hold_what_json_holds(tmp_path):
    write_scores(tmp_path, [], {"b": 1, "a": {"ü": [1, 2]}})
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["a", "b"]
    assert "ü" in text

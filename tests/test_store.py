"""Folders that several evaluations share: methods are added, never lost; what does not compare is refused."""

import json
import threading

import pytest

from eval.scoring.scores import Score, read_evaluation, read_scores
from eval.scoring.store import add, expect_room, held
from worldgen.errors import UserError


def evaluation(*methods: str, version: str = "1", **protocol: object) -> dict:
    return {
        "protocol": {"name": "images", "metrics": ["niqe"]} | protocol,
        "metrics": {"niqe": {"better": "lower", "versions": {"kernels": version}}},
        "methods": {name: {"path": f"/made/{name}", "images": ["hut"], "failed": {}} for name in methods},
    }


def rows(*methods: str, value: float = 1.0) -> list[Score]:
    return [Score(method, "hut", "picture", "niqe", value) for method in methods]


def test_an_evaluation_adds_its_methods(tmp_path):
    add(tmp_path / "out", rows("a", "b"), evaluation("a", "b"))
    found, whole = add(tmp_path / "out", rows("b", "c", value=2.0), evaluation("b", "c"))
    assert [(row.method, row.value) for row in found] == [("a", 1.0), ("b", 2.0), ("c", 2.0)]
    assert sorted(whole["methods"]) == ["a", "b", "c"]
    assert read_scores(tmp_path / "out") == found
    assert read_evaluation(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (evaluation("b", size=64), "holds a scored by protocol.size None, not 64"),
        (evaluation("b", version="2"), "holds a scored by niqe with kernels 1, not 2"),
        (evaluation("b", name="world"), "holds a scored by protocol images, not world"),
    ],
)
def test_what_was_scored_otherwise_is_refused_and_stays(tmp_path, new, message):
    add(tmp_path, rows("a"), evaluation("a"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for refused in (lambda: expect_room(tmp_path, new), lambda: add(tmp_path, rows("b"), new)):
        with pytest.raises(UserError) as caught:
            refused()
        assert str(caught.value).startswith(f"out: {tmp_path} {message}, wanted another out=")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_all_methods_once_more_may_be_scored_otherwise(tmp_path):
    add(tmp_path, rows("a"), evaluation("a"))
    assert expect_room(tmp_path, evaluation("a", "b", version="2")) == {}
    assert expect_room(tmp_path, evaluation("b")) == {"a": ["hut"]}
    add(tmp_path, rows("a", "b"), evaluation("a", "b", version="2"))
    assert sorted(read_evaluation(tmp_path)["methods"]) == ["a", "b"]


def test_one_name_is_one_method(tmp_path):
    add(tmp_path, rows("a"), evaluation("a"))
    other = evaluation("a")
    other["methods"]["a"]["path"] = "/made/elsewhere"
    with pytest.raises(UserError, match=r"methods\.a: /made/elsewhere, but .* has a from /made/a, wanted another name"):
        expect_room(tmp_path, other)


def test_a_sweep_that_is_told_apart_again_leaves_no_old_value(tmp_path):
    def sweep(*values: str) -> dict:
        found = evaluation(*values)
        for record in found["methods"].values():
            record |= {"path": "runs/sweep", "group_by": "panorama.heuristic"}
        return found

    add(tmp_path, rows("adhoc", "spiral"), sweep("adhoc", "spiral"))
    add(tmp_path, rows("mine"), evaluation("mine"))
    found, _ = add(tmp_path, rows("adhoc", "anchored"), sweep("adhoc", "anchored"))
    assert [row.method for row in found] == ["adhoc", "anchored", "mine"]


def test_a_metric_that_was_not_to_be_had_is_no_other_version(tmp_path):
    without = evaluation("a")
    without["metrics"]["niqe"] = {"better": "lower", "versions": {}, "unavailable": "no weights"}
    add(tmp_path, [], without)
    _, whole = add(tmp_path, rows("b"), evaluation("b"))
    assert whole["metrics"]["niqe"]["versions"] == {"kernels": "1"}
    _, whole = add(tmp_path, [], without)
    assert whole["metrics"]["niqe"]["versions"] == {"kernels": "1"}


def test_two_at_once_lose_none(tmp_path):
    names = [f"m{number}" for number in range(6)]
    started = threading.Barrier(len(names))

    def one(name: str) -> None:
        started.wait()
        add(tmp_path, rows(name), evaluation(name))

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_evaluation(tmp_path)["methods"]) == names
    assert sorted(row.method for row in read_scores(tmp_path)) == names


def test_a_place_that_cannot_be_a_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place, message in (
        (tmp_path / "file", "is a file, wanted a folder"),
        (tmp_path / "file/in", "cannot be written"),
    ):
        with pytest.raises(UserError) as caught:
            expect_room(place, evaluation("a"))
        assert str(caught.value).startswith(f"out: {place} {message}")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"mine": 1}))
    with pytest.raises(UserError, match=r"holds an evaluation\.json of something else"):
        expect_room(tmp_path, evaluation("a"))
    with held(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "evaluation.json"]

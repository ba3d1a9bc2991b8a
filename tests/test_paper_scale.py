"""The benchmark at the paper's size, made small: the clock counts each kind of work once, and the figures are there."""

import json
from itertools import count

import pytest
import torch

from tests.benchmarks import paper_scale, stopwatch
from worldgen.geometry import fill
from worldgen.recipe import view_alignment


def test_work_within_work_counts_for_the_inner_kind_wherever_it_is_called(monkeypatch):
    ticks = count()
    monkeypatch.setattr(stopwatch, "_clocks", lambda: (float(next(ticks)), 0.0))
    erode, mask = fill.erode, torch.ones(3, 3, dtype=torch.bool)
    kinds = {"outer": ["worldgen.geometry.fill:erode"], "inner": ["worldgen.geometry.fill:dilate"]}
    watch = stopwatch.Stopwatch()
    next(ticks)
    with watch.on(kinds):
        view_alignment.erode(mask, 1)  # a tick before it, between the two and after each
    assert watch.seconds == {"outer": [2.0, 0.0], "inner": [1.0, 0.0], "rest": [2.0, 0.0]}
    assert fill.erode is view_alignment.erode is erode


def test_a_function_that_fails_does_not_keep_the_clock():
    watch = stopwatch.Stopwatch()
    with watch.on({"fails": ["worldgen.geometry.fill:push_pull"]}):
        with pytest.raises(AttributeError):
            fill.push_pull(None, None)
        before = watch.seconds["fails"][0]
        fill.dilate(torch.ones(3, 3, dtype=torch.bool), 1)
    assert watch.seconds["fails"][0] == before


def test_the_recipe_runs_through_uses_all_that_the_clock_is_on_and_ends_with_json(monkeypatch, capsys):
    """A renamed step, or another class in a fake's place, would count as the rest."""
    used = set()

    class Listening(stopwatch.Stopwatch):
        def _watched(self, kind, function):
            def listening(*arguments, **named):
                used.add(function.__qualname__)
                return function(*arguments, **named)

            return super()._watched(kind, listening)

    monkeypatch.setattr(paper_scale, "Stopwatch", Listening)
    found = paper_scale.measured(256, 32, 2)
    assert used == {name.partition(":")[2] for names in paper_scale.KINDS.values() for name in names}
    paper_scale.report(found)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == found
    assert told["views"] == 2
    assert [*told["steps_s"]] == ["fov", "prompts", "panorama", "refine", "depth", "lift", "complete"]
    assert sum(wall for wall, _ in told["kinds_s"].values()) == pytest.approx(told["all_s"][0], abs=1)

"""Scoring and its cache: rows in order, failures named and apart, nothing scored twice, any number of processes."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from eval.protocols.pictures import Picture
from eval.scoring import workers
from eval.scoring.cache import Entry, ScoreCache
from eval.scoring.jobs import Job
from eval.scoring.score import score
from eval.scoring.scores import Score
from tests.scored_pictures import Covered, Grey, Level, greys
from worldgen.errors import UserError

ENTRY = Entry("grey 1", "", "level", {"level": "1"})


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "log.txt"
    path.touch()
    return path


@pytest.fixture
def cache(tmp_path) -> ScoreCache:
    return ScoreCache(tmp_path / "scores")


def lines(log: Path) -> list[list[str]]:
    """name, process, threads, level of each picture that a metric saw."""
    return [line.split() for line in log.read_text().splitlines()]


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return true


def test_rows_by_picture_then_by_metric(cache):
    metrics = [Level(name="second", across_processes=False, factor=2), Level(name="first")]
    scored = score(greys(3), metrics, cache, processes=1)
    assert scored.rows == [
        Score("ours", f"photo{i}", "front", name, factor * i / 256)
        for i in range(3)
        for name, factor in (("second", 2), ("first", 1))
    ]
    assert (scored.failed, scored.unavailable) == ({}, {})


@pytest.mark.parametrize("across_processes", [True, False])
def test_a_broken_picture_is_named_and_the_rest_scored(across_processes, cache):
    pictures = greys(11)
    pictures[4] = replace(pictures[4], rgb=Grey(4.0, broken=True))
    scored = score(pictures, [Level(across_processes=across_processes)], cache, processes=1)
    assert scored.failed == {"ours/photo4/front": "4.0.png: broken"}
    assert [row.image for row in scored.rows] == [f"photo{i}" for i in range(11) if i != 4]


@pytest.mark.parametrize("across_processes", [True, False])
def test_a_refused_picture_keeps_its_other_scores(across_processes):
    metrics = [Level(name="picky", refuses=2 / 256, across_processes=across_processes), Level(name="easy")]
    scored = score(greys(4), metrics, None, processes=1)
    assert scored.failed == {"ours/photo2/front": f"picky: refuses {2 / 256:g}"}
    assert [row.image for row in scored.rows if row.metric == "picky"] == ["photo0", "photo1", "photo3"]
    assert len([row for row in scored.rows if row.metric == "easy"]) == 4


def test_each_reason_once_and_all_reasons():
    picture = Picture("ours", "photo", "front", Grey(0.5), truth=Grey(0.25, broken=True))
    metrics = [Level(name="a", needs="truth"), Level(name="b", needs="truth"), Level(name="c", refuses=0.5)]
    assert score([picture], metrics, None, 1).failed == {"ours/photo/front": "0.25.png: broken; c: refuses 0.5"}


def test_companions():
    bare = Picture("ours", "bare", "front", Grey(0.0))
    full = Picture("ours", "full", "front", Grey(0.0), truth=Grey(0.5), photo=Grey(0.25), text="four")
    metrics = [Level(name=needs, needs=needs) for needs in ("truth", "photo", "text", "nothing")]
    rows = score([bare, full], metrics, None, processes=1).rows
    assert [(row.image, row.metric, row.value) for row in rows] == [
        ("bare", "nothing", 0.0),
        ("full", "truth", 50.0),
        ("full", "photo", 25.0),
        ("full", "text", 4.0),
        ("full", "nothing", 0.0),
    ]


def test_an_unavailable_metric_is_said_and_left_out():
    scored = score(greys(1), [Level(name="away", why_not="no weights"), Level()], None, processes=1)
    assert scored.unavailable == {"away": "no weights"}
    assert [row.metric for row in scored.rows] == ["level"]


def test_infinite_and_undefined_scores_stay_as_they_are(cache):
    metrics = [Level(name="inf", factor=math.inf), Level(name="nan", factor=math.nan)]
    for _ in range(2):  # scored, then from the cache
        infinite, undefined = score(greys(2)[1:], metrics, cache, processes=1).rows
        assert infinite.value == math.inf
        assert math.isnan(undefined.value)


def test_what_is_known_is_not_scored_again(cache, log):
    first = score(greys(3), [Level(log)], cache, processes=1)
    again = score(greys(4, "another method"), [Level(log)], cache, processes=1)
    assert [row.value for row in again.rows[:3]] == [row.value for row in first.rows]
    assert [float(level) * 256 for *_, level in lines(log)] == [0, 1, 2, 3]


def test_whatever_decides_a_score_makes_it_another_one(cache, log):
    picture = Picture("ours", "photo", "front", Grey(0.5), truth=Grey(0.25), text="text")
    metric = Level(log)
    others = [
        (picture, metric),
        (replace(picture, rgb=Grey(0.75)), metric),
        (picture, replace(metric, name="other")),
        (picture, replace(metric, version="2")),
        (picture, replace(metric, needs="truth")),
        (replace(picture, truth=Grey(0.125)), replace(metric, needs="truth")),
        (picture, replace(metric, needs="text")),
        (replace(picture, text="other"), replace(metric, needs="text")),
    ]
    for _ in range(2):
        for changed, by in others:
            score([changed], [by], cache, processes=1)
    assert len(lines(log)) == len(others)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"value": 3.0, "of"',
        b"\xff\xfe",
        b"[]",
        b'{"value": "3.0"}',
        b'{"value": 3.0, "of": {"picture": "another", "companion": "", "metric": "level", "versions": {"level": "1"}}}',
        b'{"value": true, "of": {"picture": "grey 1", "companion": "", "metric": "level", "versions": {"level": "1"}}}',
    ],
)
def test_a_damaged_entry_counts_as_none(content, cache):
    cache.put(ENTRY, 3.0)
    assert cache.get(ENTRY) == 3.0
    cache.path(ENTRY).write_bytes(content)
    assert cache.get(ENTRY) is None
    cache.put(ENTRY, 4.0)
    assert cache.get(ENTRY) == 4.0


@pytest.mark.parametrize("value", [0.1 + 0.2, -math.inf, 1e300, 7])
def test_the_cache_loses_no_digit_and_leaves_no_litter(value, cache):
    cache.put(ENTRY, value)
    assert cache.get(ENTRY) == value
    assert list(cache.path(ENTRY).parent.iterdir()) == [cache.path(ENTRY)]


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.*WORLDGEN_CACHE"):
        score(greys(1), [Level()], ScoreCache(tmp_path / "file"), processes=1)


@pytest.fixture
def at_once(monkeypatch):
    """Processes begin as soon as one picture is scored."""
    monkeypatch.setattr(workers._Pace, "worth_processes", lambda pace, left, processes: processes > 1)


def test_two_processes_give_what_one_gives(at_once, log):
    pictures = greys(12)
    pictures[5] = replace(pictures[5], rgb=Grey(5.0, broken=True))
    metrics = [Level(log), Level(name="needs", needs="truth"), Level(name="batched", across_processes=False)]
    threads = torch.get_num_threads()
    one, two = (score(pictures, metrics, None, processes) for processes in (1, 2))
    assert one == two
    assert len(one.rows) == 22
    assert torch.get_num_threads() == threads
    here, elsewhere = ([line for line in lines(log) if (line[1] == str(os.getpid())) is own] for own in (True, False))
    assert len(here) + len(elsewhere) == 22
    assert len(here) > 11  # all of the first time, and while the other process begins
    assert len(elsewhere) >= 2
    assert {used for _, _, used, _ in here + elsewhere} == {"1"}


def test_a_process_that_dies_costs_only_its_own_picture(at_once, cache, log):
    with pytest.raises(UserError, match=r"scoring: one of the processes ended .* wanted fewer processes than 2"):
        score(greys(4), [Level(log, kills=0.0)], cache, processes=2)
    assert score(greys(4), [Level(log)], cache, processes=1).rows[3].value == 3 / 256
    assert [float(level) * 256 for *_, level in lines(log)].count(3) == 1


@pytest.mark.slow
def test_a_killed_run_goes_on(cache, log):
    folder = cache.path(ENTRY).parents[1]
    command = [sys.executable, "-m", "tests.killed_scoring", str(folder), str(log)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = lines(log)
    processes = {int(process) for _, process, *_ in before}
    assert len(processes) > 1
    assert wait_for(lambda: not any(map(psutil.pid_exists, processes))), "processes outlive the one that they work for"
    kept = len(list(folder.glob("*/*.json")))
    assert kept == len(before) - 1  # the last one was scored but not entered
    assert len(score(greys(8), [Level(log)], cache, processes=1).rows) == 8
    assert len(lines(log)) == len(before) + 8 - kept


def test_views_of_one_result_stay_together():
    views = [Picture("ours", f"photo{i}", f"view{j}", Grey(0.5)) for i in range(2) for j in range(10)]
    groups = workers._groups([Job(i, view, ("level",)) for i, view in enumerate(views)])
    assert [len(group) for group in groups] == [8, 2, 8, 2]
    assert [job.place for group in groups for job in group] == list(range(20))


def paced(first_s: float, picture_s: float, pictures: int = 3) -> workers._Pace:
    pace = workers._Pace()
    for number in range(pictures):
        pace.add(picture_s if number else first_s)
    return pace


def test_processes_start_where_they_save_time():
    assert not paced(0.1, 0.1).worth_processes(left=20, processes=2)
    assert paced(0.1, 0.1).worth_processes(left=999, processes=2)
    assert not paced(0.1, 0.1).worth_processes(left=999, processes=1)
    assert not paced(99, 99, pictures=1).worth_processes(left=999, processes=2)  # of which it could all be imports


def test_what_only_the_first_picture_waits_for_is_no_work_to_share():
    """20 pictures, of which the first one imports for 8 s: two processes would both do so, and took 41 s, not 17."""
    assert not paced(8.5, 0.4).worth_processes(left=17, processes=2)
    assert not paced(60.0, 1.0).worth_processes(left=100, processes=2)
    assert paced(0.1, 1.0).worth_processes(left=100, processes=2)


@pytest.mark.slow
def test_processes_get_the_metrics_that_they_are_asked_for(at_once, monkeypatch):
    """Others may import networks, or not even travel."""
    away = Level(name="away", across_processes=False)
    away.cannot_travel = threading.Lock()
    assert len(score(greys(4), [Level(), away], None, processes=2).rows) == 8


def test_pictures_can_be_kept(tmp_path, cache):
    pictures = [replace(picture, image=f"a/b {number}", view="..") for number, picture in enumerate(greys(3))]
    pictures[1] = replace(pictures[1], rgb=Grey(1.0, broken=True))
    for metrics in ([Level()], [Level()], [Level(name="batched", across_processes=False)]):
        score(pictures, metrics, cache, 1, views_folder=tmp_path / "views")
        found = sorted(tmp_path.glob("views/**/*.png"))
        assert [path.relative_to(tmp_path / "views").as_posix() for path in found] == [
            f"ours/a%2Fb {number}/%2E..png" for number in (0, 2)
        ]
        assert np.asarray(Image.open(found[1])).max() == round(2 / 256 * 255)
        for path in found:
            path.unlink()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"%2E..png: cannot be written .*, wanted room"):
        score(pictures, [Level()], cache, 1, views_folder=tmp_path / "file")


def test_coverage_is_known_without_rendering_again(cache, log):
    pictures = [Picture("ours", "world", f"view{i}", Covered(i / 4, seen_in=log)) for i in range(1, 3)]
    pictures.append(Picture("ours", "world", "broken", Covered(0.75, broken=True, seen_in=log)))
    for _ in range(2):
        found = score([*pictures, *greys(1)], [Level()], cache, 1)
        assert found.coverage == {("ours", "world", "view1"): 0.25, ("ours", "world", "view2"): 0.5}
    assert log.read_text().split() == ["0.25", "0.5"]
    assert score(pictures, [Level(name="new")], cache, 1).coverage == found.coverage


def test_progress_is_told():
    told = []

    def track(items, total, what):
        items = list(items)
        told.append((what, total, len(items)))
        return iter(items)

    score(greys(3), [Level(), Level(name="slow", across_processes=False)], None, 1, track)
    assert told == [("scoring pictures", 3, 3), ("scoring pictures by networks", 3, 3)]

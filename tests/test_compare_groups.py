"""Groups of runs: means and intervals over photos and seeds, pairs, and what is said where these cannot be had."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from eval.benchmarks.compare import make_sweep
from eval.compare.cli import main
from eval.compare.compared import ComparedRun
from eval.compare.comparison import as_text, comparison
from eval.compare.grouping import group_by, telling_apart, usual_keys
from eval.compare.run_notes import notes_on
from eval.tables.statistics import unpaired_difference


def run_of(heuristic: str, photo: str, seed: int, niqe: float | None, **more) -> ComparedRun:
    settings = {"panorama.heuristic": heuristic, "panorama.width": "512", "seed": str(seed)} | more.pop("settings", {})
    state = more.pop("state", "finished" if niqe is not None else "stopped in splat")
    scores = {} if niqe is None else {"niqe": niqe}
    name = f"{photo}-panorama={heuristic}-seed={seed}{more.pop('suffix', '')}"
    return ComparedRun(name, photo, state, settings, scores=scores, better={"niqe": "lower"}, **more)


def sweep(lost: tuple[str, str, int] | None = None) -> list[ComparedRun]:
    """Two groups, three photos that differ much, two seeds that differ little; `walk` is worse by 0.5, 0.4, 0.6."""
    runs = []
    for number, (photo, worse) in enumerate({"a": 0.5, "b": 0.4, "c": 0.6}.items()):
        for seed in (0, 1):
            for heuristic, more in (("anchored", 0.0), ("walk", worse)):
                value = 4.0 * number + 0.1 * seed + more
                runs.append(run_of(heuristic, photo, seed, None if (heuristic, photo, seed) == lost else value))
    return runs


def niqe_of(runs, *arguments, **named):
    found = comparison(runs, ["panorama.heuristic"], *arguments, **named)
    return found, next(figure for figure in found.groups.figures if figure.name == "niqe")


def test_intervals_are_over_photos_whose_seeds_are_averaged():
    found, niqe = niqe_of(sweep())
    assert [group.label for group in found.groups.groups] == ["anchored", "walk"]
    values = np.array([0.05, 4.05, 8.05])
    half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / math.sqrt(3)
    interval = niqe.means[0].interval
    assert (interval.count, niqe.over) == (3, "photos")
    assert interval.mean == pytest.approx(4.05)
    assert interval.half_width == pytest.approx(half)


def test_differences_are_paired_by_photo_and_seed():
    """What photos have in common cancels: the interval is far narrower than those of the groups."""
    _, niqe = niqe_of(sweep(), "anchored")
    difference = niqe.differences[1]
    assert niqe.differences[0] is None
    assert (difference.how, difference.interval.count) == ("photo and seed", 3)
    assert difference.interval.mean == pytest.approx(0.5)
    assert difference.interval.half_width == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3))
    assert niqe.means[1].interval.half_width > 20 * difference.interval.half_width


def test_other_seeds_are_paired_by_photo():
    runs = [
        run_of(h, photo, seed, v) for h, seed in (("anchored", 0), ("walk", 7)) for photo, v in (("a", 1), ("b", 2))
    ]
    _, niqe = niqe_of(runs, "anchored")
    assert (niqe.differences[1].how, niqe.differences[1].interval.mean) == ("photo", 0)


def test_other_photos_are_not_paired_and_not_ranked():
    runs = [run_of("anchored", photo, 0, value) for photo, value in (("a", 1.0), ("b", 2.0), ("c", 4.0))]
    runs += [run_of("walk", photo, 0, value) for photo, value in (("d", 2.0), ("e", 7.0))]
    found, niqe = niqe_of(runs, "anchored")
    difference = niqe.differences[1]
    assert (difference.how, difference.interval.count) == ("unpaired", 2)
    assert difference.interval.mean == pytest.approx(4.5 - 7 / 3)
    assert not any(mean.ranked or mean.best for mean in niqe.means)
    text = as_text(found, "markdown")
    assert "not ranked (*): walk lacks 3" in text
    assert "unpaired: no photo is anchored's, too" in text


def test_one_photo_gives_intervals_over_seeds():
    runs = [run_of(h, "a", seed, value + seed) for h, value in (("anchored", 1.0), ("walk", 3.0)) for seed in (0, 1, 2)]
    found, niqe = niqe_of(runs, "anchored")
    assert (niqe.over, niqe.means[0].interval.count, niqe.differences[1].how) == ("seeds", 3, "seed")
    assert niqe.differences[1].interval.mean == pytest.approx(2)
    assert "which says nothing of others" in as_text(found, "markdown")


def test_a_single_run_has_no_interval():
    found, niqe = niqe_of([run_of("anchored", "a", 0, 1.0), run_of("walk", "a", 0, 2.0)], "anchored")
    assert not niqe.means[0].interval.known
    assert "| 1 (1) |" in as_text(found, "markdown").replace("**", "")
    assert "without ±" in as_text(found, "markdown")


def test_a_group_that_lost_a_run_is_not_ranked():
    """Its mean is over fewer photos and seeds, mostly the easy ones."""
    found, niqe = niqe_of(sweep(lost=("anchored", "c", 1)), "walk")
    assert [mean.ranked for mean in niqe.means] == [False, True]
    assert [str(sample) for sample in niqe.means[0].lacks] == ["c seed 1"]
    assert not any(mean.best for mean in niqe.means)
    assert (niqe.differences[0].interval.count, niqe.differences[0].interval.mean) == (3, pytest.approx(-0.5))
    text = as_text(found, "markdown")
    assert "6 (1 not finished)" in text
    assert "- not finished: c-panorama=anchored-seed=1: stopped in splat" in text
    assert "- not scored: c-panorama=anchored-seed=1" in text
    assert "not ranked (*): anchored lacks 1 that others have (c seed 1), by niqe" in text


def test_allow_missing_takes_what_all_groups_have():
    found, niqe = niqe_of(sweep(lost=("anchored", "c", 1)), allow_missing=True)
    assert [mean.ranked for mean in niqe.means] == [True, True]
    assert [mean.interval.mean for mean in niqe.means] == pytest.approx(
        [(0.05 + 4.05 + 8) / 3, (0.55 + 4.45 + 8.6) / 3]
    )
    assert niqe.means[0].best
    assert "left out, for not every group has them: c seed 1 (1), by niqe" in as_text(found, "markdown")


def test_the_best_comes_first_and_what_is_not_ranked_last():
    runs = [*sweep(), run_of("zigzag", "a", 0, -5.0)]
    found, niqe = niqe_of(runs, None, "niqe")
    assert [group.label for group in found.groups.groups] == ["anchored", "walk", "zigzag"]
    assert [mean.best for mean in niqe.means] == [True, False, False]
    assert [run.scores["niqe"] for run in found.runs] == sorted(run.scores["niqe"] for run in runs)


def test_settings_that_differ_within_a_group_are_averaged_over_and_said():
    runs = sweep() + [
        run_of(run.settings["panorama.heuristic"], run.photo, int(run.settings["seed"]), run.scores["niqe"] + 1,
               settings={"panorama.width": "1024"}, suffix="-wide")
        for run in sweep()
    ]  # fmt: skip
    found, niqe = niqe_of(runs, "anchored")
    assert niqe.means[0].interval.mean == pytest.approx(4.55)
    assert niqe.differences[1].interval.count == 3
    assert "- averaged over within groups: panorama.width\n" in as_text(found, "markdown")
    assert len(comparison(runs, ["panorama.heuristic", "panorama.width"]).groups.groups) == 4


def test_photos_of_one_name_are_told_apart():
    runs = [
        run_of("anchored", "a", 0, 1.0, photo_sha256="1" * 64),
        run_of("anchored", "a", 0, 3.0, photo_sha256="2" * 64),
    ]
    assert niqe_of(runs)[1].means[0].interval.count == 2


def test_kinds_are_never_in_one_group():
    runs = [*sweep(), run_of("anchored", "a", 0, 1.0, kind="fit")]
    found = comparison(runs, ["panorama.heuristic"])
    assert [group.values for group in found.groups.groups] == [
        ("fit", "anchored"),
        ("world", "anchored"),
        ("world", "walk"),
    ]
    assert "several kinds of runs" in as_text(found, "markdown")


def test_a_group_of_settings_is_told_by_what_differs_or_by_the_folders_names(tmp_path):
    assert [group.label for group in group_by(sweep(), ["panorama"])] == ["anchored", "walk"]
    plain = [ComparedRun(str(n), "a", "finished", {"splat.steps": str(n), "splat.rate": "1"}) for n in (100, 20, 20)]
    assert [group.label for group in group_by(plain, ["splat"])] == ["20", "100"]  # as numbers
    assert usual_keys([*plain, *plain]) == ["splat.steps"]
    assert usual_keys(sweep()) == ["panorama"]  # as their names say
    wide = [replace(run, name=f"{run.name}-panorama.width=64") for run in sweep()]
    assert usual_keys(wide) == ["panorama"]
    assert usual_keys(plain) == []  # nearly every run would be a group
    held = [ComparedRun("x", "", "finished", folder=tmp_path / place / "x") for place in ("art", "plain")]
    assert [group.label for group in group_by(held, ["group"])] == ["art", "plain"]


def test_every_run_that_is_not_finished_is_counted():
    runs = [run_of("a", "a", n, None, state=f"failed in splat: {n // 3}") for n in range(24)]
    told = [line for line in notes_on(runs) if line.startswith("not finished")]
    assert len(told) == 7
    assert told[0].startswith("not finished: 3 runs (a-panorama=a-seed=0, ")
    assert told[-1] == "not finished, for other reasons: 6 runs"


def test_settings_that_differ_together_tell_no_more():
    settings = [
        {"panorama.heuristic": h, "panorama.finish": h[0], "seed": str(n)} for h in ("a1", "b1") for n in (0, 1)
    ]
    runs = [ComparedRun(str(n), "a", "finished", each) for n, each in enumerate(settings)]
    assert telling_apart(runs) == ["panorama.finish", "seed"]
    assert usual_keys(runs) == ["panorama.finish"]


def test_unpaired_differences_are_welchs():
    generator = np.random.default_rng(0)
    first, second = generator.normal(3, 1, 8), generator.normal(1, 4, 5)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    found = unpaired_difference(first, second)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.count == 5
    assert not unpaired_difference(first, [1.0]).known


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("made") / "sweep", 30, 64)


def test_the_command_groups_sorts_and_compares(made, capsys):
    arguments = [str(made), "by=panorama", "baseline=anchored", "sort=niqe"]
    assert main([*arguments, "--format", "csv"]) == 0
    table, _, last = capsys.readouterr().out.rstrip().rpartition("\n")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["panorama"] for row in rows] == ["anchored", "sequential", "adhoc"]
    assert [(row["runs"], row["finished"], row["niqe n"]) for row in rows] == [("10", "9", "5")] * 3
    assert rows[0]["niqe minus anchored"] == ""
    assert float(rows[2]["niqe minus anchored low"]) > 0.5
    assert rows[2]["niqe minus anchored paired by"] == "photo and seed"
    assert rows[2]["PSNR (dB) ranked"] == "false"  # every tenth run stopped before its splats
    told = json.loads(last)
    assert (told["runs"], told["finished"], told["groups"]) == (30, 27, ["anchored", "sequential", "adhoc"])
    assert told["best"]["niqe"] == ["anchored"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["by=colour"], "by: colour, which no run has, wanted some of panorama.heuristic, seed, photo, kind, group"),
        (["by=panorama", "baseline=x"], "baseline: x, wanted one of adhoc; anchored; sequential"),
        (["baseline=x"], "baseline: x, wanted only with by="),
        (["sort=x"], "sort: x, wanted one of brisque; niqe; points"),
        (["by="], "by: nothing, wanted a setting"),
        (["by=panorama", "allow_missing=yes"], "allow_missing: yes, wanted true or false"),
    ],
)
def test_what_cannot_be_grouped_is_one_line(made, capsys, arguments, message):
    assert main([str(made), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err

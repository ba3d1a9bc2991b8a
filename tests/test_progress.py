"""What a person sees while the recipe works."""

import io
import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from worldgen.present.console import Reporter


@pytest.fixture
def printed():
    return io.StringIO()


def plain(printed: io.StringIO, quiet: bool = False) -> Reporter:
    return Reporter(quiet, Console(file=printed, width=100))


def finished(status: str, **facts: object) -> SimpleNamespace:
    return SimpleNamespace(status=status, facts=facts)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (finished("made"), " s"),
        (finished("kept"), "kept"),
        (finished("edited"), "kept as edited by hand"),
        (finished("made", skipped="no model"), "skipped: no model"),
    ],
)
def test_a_step_is_one_line_with_its_place_and_outcome(printed, result, outcome):
    with plain(printed).step(3, 9, "panorama", "a panorama round the photo") as line:
        line.result = result
    assert printed.getvalue().count("\n") == 1
    assert printed.getvalue().startswith("  3/9 panorama   a panorama round the photo")
    assert printed.getvalue().rstrip("\n").endswith(outcome)


def test_bars_are_for_terminals_only(printed):
    reporter = plain(printed)
    assert list(reporter.track(range(5), 5, "views")) == [0, 1, 2, 3, 4]
    assert printed.getvalue() == ""
    shown = io.StringIO()
    terminal = Reporter(console=Console(file=shown, width=100, force_terminal=True))
    assert list(terminal.track(range(5), 5, "views")) == [0, 1, 2, 3, 4]
    assert "views" in shown.getvalue()


def test_bars_within_bars_and_loops_left_early():
    terminal = Reporter(console=Console(file=io.StringIO(), width=100, force_terminal=True))
    with terminal.step(1, 9, "fov", "the photo's field of view"):
        for outer in terminal.track(range(3), 3, "outer"):
            assert sum(terminal.track(range(4), 0, "nobody knows how many")) == 6
            if outer == 1:
                break
    with terminal.step(2, 9, "prompts", "what the scene is"):
        pass


def test_a_step_that_fails_has_no_line(printed):
    with pytest.raises(RuntimeError), plain(printed).step(1, 9, "fov", "title"):
        raise RuntimeError
    assert printed.getvalue() == ""


def test_quiet_prints_nothing_but_logs_all_the_same(printed, tmp_path):
    reporter = plain(printed, quiet=True)
    reporter.log_to(tmp_path / "log.txt")
    with reporter.step(1, 9, "fov", "the photo's field of view") as line:
        line.result = finished("made")
    logging.getLogger("somebody.else").warning("beware")
    reporter.close()
    assert printed.getvalue() == ""
    log = (tmp_path / "log.txt").read_text()
    assert "1/9 fov" in log
    assert "WARNING somebody.else: beware" in log


def test_each_run_has_a_log_of_its_own(printed, tmp_path):
    reporter = plain(printed)
    for name in ("a", "b"):
        reporter.log_to(tmp_path / name)
        reporter.note(f"in {name}")
    reporter.close()
    reporter.note("nowhere")
    assert "in a" in (tmp_path / "a").read_text()
    assert (tmp_path / "b").read_text().count("\n") == 1


def test_a_full_disk_does_not_break_the_log(printed):
    reporter = plain(printed)
    reporter.log_to("/dev/full")
    reporter.note("still going")
    assert "still going" in printed.getvalue()


def test_why_a_step_failed_stands_in_the_log(printed, tmp_path):
    reporter = plain(printed)
    reporter.log_to(tmp_path / "log.txt")
    with pytest.raises(ValueError, match="no room"), reporter.step(3, 9, "panorama", "a panorama"):
        raise ValueError("no room")
    reporter.close()
    assert "ERROR worldgen: 3/9 panorama: no room" in (tmp_path / "log.txt").read_text()
    with pytest.raises(ValueError, match="no room"), plain(printed).step(3, 9, "panorama", "a panorama"):
        raise ValueError("no room")
    assert printed.getvalue() == ""

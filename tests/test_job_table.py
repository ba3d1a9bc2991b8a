"""A sweep's jobs on the screen."""

import io

from rich.console import Console

from worldgen.present.job_table import counted, job_table

ROWS = [
    ("12_0", "image=hut.jpg", "running", "0:41", "node03  7/9 complete: begins"),
    ("12_1", "image=sea.jpg panorama=anchored", "failed", "", "sea.jpg: not a picture that can be read, " * 5),
    *((f"12_{number}", f"image={number}.jpg", "queued", "", "Priority") for number in range(2, 30)),
]


def shown(**console: object) -> str:
    file = io.StringIO()
    with job_table(Console(file=file, width=100, **console)) as show:
        show(ROWS, "")
        show(ROWS, "")
        show(ROWS, "the controller does not answer")
        if console:
            return file.getvalue()
    return file.getvalue()


def test_counts_are_by_state():
    assert counted([row[2] for row in ROWS]) == "done 0 · running 1 · queued 28 · failed 1"


def test_without_a_terminal_a_line_is_printed_for_each_change():
    assert shown() == (
        "done 0 · running 1 · queued 28 · failed 1\n"
        "done 0 · running 1 · queued 28 · failed 1; the controller does not answer\n"
    )


def test_in_a_terminal_what_fails_and_runs_is_shown_whole_before_what_waits():
    text = shown(force_terminal=True, color_system=None)
    last = text[text.rindex("done 0") :]
    lines = [line.strip() for line in last.splitlines()]
    assert lines[1].split() == ["job", "run", "state", "time"]
    assert lines[2].split()[:4] == ["12_1", "image=sea.jpg", "panorama=anchored", "failed"]
    assert lines[3].split()[:5] == ["12_0", "image=hut.jpg", "running", "0:41", "node03"]
    assert "and 18 more; the controller does not answer; Ctrl-C leaves the jobs" in last
    assert max(map(len, lines)) <= 100

"""Whatever happens to a run folder, in any order: the next whole run ends as a fresh one would, or keeps an edit."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_run_folder import CHANGES_ON_DISK, chain, opened

STEPS = ("first", "second", "third")
LETTERS = st.sampled_from("xy")
ACTIONS = st.one_of(
    st.tuples(st.just("make"), LETTERS, st.none()),
    st.tuples(st.just("kill"), LETTERS, st.integers(0, 80)),
    st.tuples(st.just("edit"), st.sampled_from(STEPS), st.none()),
    st.tuples(st.just("delete"), st.sampled_from(STEPS), st.none()),
)


class KilledError(BaseException):
    """As good as a SIGKILL: from here on nothing changes on the disk."""


@contextmanager
def killed_at(change: int) -> Iterator[None]:
    """From that change on the disk on, every one fails: no clean-up on the way out has any effect."""
    count = 0

    def dying(real):
        def changed(*arguments, **named):
            nonlocal count
            count += 1
            if count > change:
                raise KilledError
            return real(*arguments, **named)

        return changed

    real = {name: getattr(os, name) for name in CHANGES_ON_DISK}
    for name, function in real.items():
        setattr(os, name, dying(function))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def run(root: Path, letter: str) -> dict[str, str]:
    with opened(root) as folder:
        return chain(folder, letter)


def texts(letter: str, edits: dict[str, str]) -> dict[str, str]:
    """What the steps of `chain` leave, where some were edited by hand."""
    first = edits.get("first", letter)
    second = edits.get("second", first * 2)
    return {"first": first, "second": second, "third": edits.get("third", second + "!")}


@pytest.mark.slow  # tests/test_run_folder.py: each of these actions alone, and kills at every fifth change
@settings(max_examples=40)
@given(actions=st.lists(ACTIONS, min_size=1, max_size=6), letter=LETTERS)
def test_after_any_sequence_the_run_is_as_a_fresh_one_or_keeps_the_edits(actions, letter):
    edits: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        for number, (action, what, change) in enumerate(actions):
            step = root / what
            if action == "make":
                run(root, what)
            elif action == "kill":
                with suppress(KilledError), killed_at(change):
                    run(root, what)
            elif action == "edit" and (step / "text.txt").is_file():
                (step / "text.txt").write_text(f"by hand {number}")
                edits[what] = f"by hand {number}"
            elif action == "delete" and step.is_dir():
                shutil.rmtree(step)
                edits.pop(what, None)
        run(root, letter)
        statuses = run(root, letter)
        assert statuses == {name: "edited" if name in edits else "kept" for name in STEPS}
        assert {name: (root / name / "text.txt").read_text() for name in STEPS} == texts(letter, edits)
        assert (root / "result.txt").read_text() == texts(letter, edits)["third"]
        assert [path.name for path in root.glob(".*")] == [".lock"]
        assert list(root.glob("*/.attempt.json")) == []
        manifest = json.loads((root / "manifest.json").read_text())
        assert set(manifest["steps"]) == set(STEPS)
        assert set(manifest["edited_by_hand"]) == set(edits)

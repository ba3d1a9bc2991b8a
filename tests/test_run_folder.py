"""The run folder: what runs again and what does not, edits by hand, and processes killed at every moment."""

import errno
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worldgen.errors import UserError
from worldgen.runs.disk import landing
from worldgen.runs.folder import RunFolder
from worldgen.runs.record import load_record, look

PHOTO = "ab" * 32


@contextmanager
def opened(root: Path, photo: str = PHOTO) -> Iterator[RunFolder]:
    with RunFolder.open(root, photo, "photo.jpg") as folder:
        yield folder


def chain(folder: RunFolder, letter: str = "x") -> dict[str, str]:
    """Three steps, each reading the one before; returns their statuses."""

    def first(out: Path) -> dict:
        (out / "text.txt").write_text(letter)
        (out / "more").mkdir(exist_ok=True)
        (out / "more" / "constant.txt").write_text("constant")
        return {"letter": letter}

    def second(out: Path) -> None:
        (out / "text.txt").write_text(folder.path("first", "text.txt").read_text() * 2)

    def third(out: Path) -> None:
        (out / "text.txt").write_text(folder.path("second", "text.txt").read_text() + "!")

    steps = [
        ("first", {"letter": letter}, [], first),
        ("second", {}, ["first"], second),
        ("third", {}, ["second"], third),
    ]
    statuses = {name: folder.step(name, config, inputs, produce).status for name, config, inputs, produce in steps}
    folder.link("result.txt", "third", "text.txt")
    return statuses


ALL_MADE = {"first": "made", "second": "made", "third": "made"}
ALL_KEPT = {"first": "kept", "second": "kept", "third": "kept"}


def test_to_open_a_folder_again_changes_nothing_in_its_manifest(tmp_path):
    """Else the report would be written again, for it counts as older."""
    with opened(tmp_path) as folder:
        for name in ("second", "third", "first"):
            folder.step(name, {}, [], lambda out: (out / "text.txt").write_text("x") and None)
    before = (tmp_path / "manifest.json").read_text()
    with opened(tmp_path):
        pass
    assert (tmp_path / "manifest.json").read_text() == before
    assert list(json.loads(before)["steps"]) == ["first", "second", "third"]


@pytest.fixture
def root(tmp_path):
    """A finished run."""
    with opened(tmp_path / "run") as folder:
        assert chain(folder) == ALL_MADE
    return tmp_path / "run"


def test_a_second_run_makes_nothing(root):
    with opened(root) as folder:
        assert chain(folder) == ALL_KEPT
    assert (root / "result.txt").read_text() == "xx!"


def test_the_manifest_tells_how_each_step_was_made(root):
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["photo"] == {"name": "photo.jpg", "sha256": PHOTO}
    step = manifest["steps"]["first"]
    assert step["config"] == {"letter": "x"}
    assert step["facts"] == {"letter": "x"}
    assert step["peak_memory_mb"] > 1
    assert step["seconds"] >= 0
    assert "python" in step["versions"]
    assert set(step["files"]) == {"text.txt", "more/constant.txt"}
    assert set(manifest["steps"]["second"]["inputs"]) == {"first"}


def test_a_changed_config_makes_its_step_and_the_later_ones_again(root):
    with opened(root) as folder:
        assert chain(folder, "y") == ALL_MADE
    assert (root / "result.txt").read_text() == "yy!"


def test_a_step_that_comes_out_the_same_leaves_the_later_ones_alone(root):
    with opened(root) as folder:

        def again(out: Path) -> None:
            shutil.copytree(root / "first", out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))

        assert folder.step("first", {"letter": "x", "effort": 2}, [], again).status == "made"
        assert folder.step("second", {}, ["first"], lambda out: pytest.fail("ran")).status == "kept"


def test_a_new_version_of_a_step_makes_it_again(root):
    with opened(root) as folder:
        assert folder.step("first", {"letter": "x"}, [], lambda out: None, version=2).status == "made"


def test_an_edited_file_is_kept_and_the_later_steps_follow_it(root):
    (root / "second" / "text.txt").write_text("by hand")
    for _ in range(2):
        with opened(root) as folder:
            statuses = chain(folder)
        assert statuses["second"] == "edited"
        assert (root / "result.txt").read_text() == "by hand!"
    assert statuses == {"first": "kept", "second": "edited", "third": "kept"}
    assert json.loads((root / "manifest.json").read_text())["edited_by_hand"] == {"second": ["text.txt"]}


def test_an_edited_file_outlives_changes_before_it_and_says_so(root):
    (root / "second" / "text.txt").write_text("by hand")
    with opened(root) as folder:
        assert chain(folder, "y") == {"first": "made", "second": "edited", "third": "made"}
        result = folder.step("second", {}, ["first"], lambda out: pytest.fail("ran"))
        assert result.facts["edited_by_hand"] == ["text.txt"]
        assert result.facts["outdated"]


def test_deleting_an_edited_step_makes_it_again(root):
    (root / "second" / "text.txt").write_text("by hand")
    shutil.rmtree(root / "second")
    with opened(root) as folder:
        assert chain(folder) == {"first": "kept", "second": "made", "third": "kept"}


def test_a_file_saved_over_a_link_is_an_edit_of_its_step(root):
    (root / "result.txt").unlink()
    (root / "result.txt").write_text("by hand")
    with opened(root) as folder:
        assert chain(folder) == {"first": "kept", "second": "kept", "third": "edited"}
    assert (root / "result.txt").is_symlink()
    assert (root / "third" / "text.txt").read_text() == "by hand"


def test_a_file_that_a_person_put_at_the_top_is_not_replaced_by_a_link(tmp_path):
    (tmp_path / "result.txt").write_text("mine")
    with opened(tmp_path) as folder:
        chain(folder)
    assert (tmp_path / "result.txt").read_text() == "mine"


def test_files_that_a_person_added_survive_a_step_made_again(root):
    (root / "first" / "more" / "notes.txt").write_text("mine")
    with opened(root) as folder:
        assert chain(folder, "y") == ALL_MADE
    assert (root / "first" / "more" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("")], ids=["gone", "emptied"])
def test_a_missing_or_emptied_file_makes_its_step_again(root, damage):
    damage(root / "second" / "text.txt")
    with opened(root) as folder:
        assert chain(folder) == {"first": "kept", "second": "made", "third": "kept"}
    assert (root / "second" / "text.txt").read_text() == "xx"


def test_a_changed_file_that_nobody_edits_is_damage(root):
    (root / "first" / "text.txt").write_text("flipped bits")
    with opened(root) as folder:
        made = folder.step("first", {"letter": "x"}, [], lambda out: None, edited_ok=False)
    assert made.status == "made"


def test_an_edited_step_that_lacks_a_file_is_not_thrown_away(root):
    (root / "first" / "text.txt").write_text("by hand")
    (root / "first" / "more" / "constant.txt").unlink()
    with (
        opened(root) as folder,
        pytest.raises(UserError, match=r"text\.txt was changed by hand, but more/constant\.txt"),
    ):
        chain(folder)
    assert (root / "first" / "text.txt").read_text() == "by hand"


def test_a_copied_run_folder_is_as_good_as_the_first(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy", symlinks=True, copy_function=shutil.copyfile)  # without the files' times
    with opened(tmp_path / "copy") as folder:
        assert chain(folder) == ALL_KEPT


def test_a_step_that_fails_leaves_the_version_before_it(root):
    def fail(out: Path) -> None:
        (out / "text.txt").write_text("half")
        raise RuntimeError("broken")

    with opened(root) as folder, pytest.raises(RuntimeError, match="broken"):
        folder.step("first", {"letter": "y"}, [], fail)
    assert (root / "first" / "text.txt").read_text() == "x"
    with opened(root) as folder:
        assert chain(folder) == ALL_KEPT


def test_another_photo_is_refused_and_nothing_is_touched(root):
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match=r"another photo or scene \(photo\.jpg, sha256 abab"), opened(root, "cd" * 32):
        pass
    (root / "manifest.json").unlink()  # the steps know their photo too
    with pytest.raises(UserError, match="another photo"), opened(root, "cd" * 32):
        pass
    assert sorted(root.rglob("*")) == [path for path in before if path.name != "manifest.json"]


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_broken_manifest_is_written_anew(root, content):
    (root / "manifest.json").write_text(content)
    with opened(root) as folder:
        assert chain(folder) == ALL_KEPT
    assert set(json.loads((root / "manifest.json").read_text())["steps"]) == set(ALL_MADE)


def test_a_folder_that_is_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "thesis.tex").write_text("mine")
    with opened(tmp_path) as folder, pytest.raises(UserError, match="not a step that worldgen made"):
        chain(folder)
    assert (tmp_path / "second" / "thesis.tex").read_text() == "mine"


def test_a_second_process_is_told_who_works_there(root):
    code = f"""
from pathlib import Path
from worldgen.runs.folder import RunFolder
RunFolder.open(Path({str(root)!r}), {PHOTO!r})"""
    with opened(root):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"process {os.getpid()} on" in done.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(UserError, match="run: is a file"), opened(tmp_path / "run"):
        pass
    with pytest.raises(UserError, match="out=<folder>"), opened(tmp_path / "run" / "below"):
        pass


@pytest.mark.parametrize("place", ["/proc/nowhere", "x" * 300, "dangling"])
def test_a_place_where_no_folder_can_be_is_named(tmp_path, place):
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"cannot be written.*out=<folder>"), opened(tmp_path / place):
        pass


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "run"))

    monkeypatch.setattr(os, "mkdir", read_only)
    with pytest.raises(UserError, match=r"run: cannot be written \(Read-only"), opened(tmp_path / "run"):
        pass


def test_a_full_disk_is_named_and_leaves_the_version_before_it(root):
    def fill(out: Path) -> None:
        (out / "text.txt").write_text("half")
        Path("/dev/full").write_text("x" * 100_000)

    with opened(root) as folder, pytest.raises(UserError, match="No space left"):
        folder.step("first", {"letter": "y"}, [], fill)
    assert (root / "first" / "text.txt").read_text() == "x"
    with opened(root) as folder:
        assert chain(folder) == ALL_KEPT
    assert not list(root.glob(".*worldgen*"))


def test_a_full_disk_is_recognised_behind_a_librarys_own_exception(root, monkeypatch):
    def fail(out: Path) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
        raise RuntimeError("failed writing file")

    with opened(root) as folder, pytest.raises(UserError, match="No space left"):
        folder.step("first", {"letter": "y"}, [], fail)


def five_parts(out: Path, die_at: int | None = None, by_signal: bool = False) -> dict:
    """A step of five files that are landed one by one; dies while it writes one of them."""
    made = 0
    for number in range(5):
        path = out / "parts" / f"{number}.txt"
        if path.exists():
            continue
        path.parent.mkdir(exist_ok=True)
        with landing(path) as half:
            half.write_text(f"half of {number}")
            if number == die_at:
                if by_signal:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise RuntimeError("broken")
            half.write_text(f"part {number}")
        made += 1
    return {"made": made}


def die(root: Path, config: dict, die_at: int, by_signal: bool) -> None:
    def attempt() -> None:
        with opened(root) as folder:
            folder.step("parts", config, [], lambda out: five_parts(out, die_at, by_signal))

    if not by_signal:
        with pytest.raises(RuntimeError, match="broken"):
            attempt()
        return
    process = multiprocessing.get_context("fork").Process(target=attempt)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("by_signal", [False, True], ids=["by an exception", "by SIGKILL"])
def test_a_step_that_was_killed_goes_on_with_what_it_had_made(tmp_path, by_signal):
    die(tmp_path, {"size": 1}, die_at=2, by_signal=by_signal)
    die(tmp_path, {"size": 1}, die_at=3, by_signal=by_signal)
    with opened(tmp_path) as folder:
        result = folder.step("parts", {"size": 1}, [], five_parts)
    assert result.facts == {"made": 2}
    assert sorted(load_record(tmp_path / "parts").files) == [f"parts/{number}.txt" for number in range(5)]
    assert load_record(tmp_path / "parts").attempts == 3
    assert sorted(path.name for path in (tmp_path / "parts").rglob(".*")) == [".step.json"]
    assert not list(tmp_path.glob(".*worldgen*"))


def test_an_attempt_at_something_else_is_swept_away(tmp_path, monkeypatch):
    die(tmp_path, {"size": 1}, die_at=3, by_signal=False)
    die(tmp_path, {"size": 2}, die_at=3, by_signal=False)
    monkeypatch.setattr("worldgen.runs.attempts.versions", lambda: {"torch": "99"})
    with opened(tmp_path) as folder:
        assert folder.step("parts", {"size": 2}, [], five_parts).facts == {"made": 5}
    assert load_record(tmp_path / "parts").attempts == 1
    die(tmp_path, {"size": 3}, die_at=3, by_signal=False)
    with opened(tmp_path) as folder:
        assert folder.step("parts", {"size": 2}, [], five_parts).status == "kept"
        assert folder.step("parts", {"size": 3}, [], five_parts).facts == {"made": 5}


def test_the_seconds_of_all_attempts_count(tmp_path, monkeypatch):
    now = iter([1000.0, 5000.0])
    monkeypatch.setattr("worldgen.runs.attempts.time.time", lambda: next(now))
    with opened(tmp_path) as folder:

        def fail(out: Path) -> None:
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError):
            folder.step("parts", {}, [], fail)
        for path in (tmp_path / ".parts.worldgen-new", tmp_path / ".parts.worldgen-new" / ".attempt.json"):
            os.utime(path, (0, 1042.0))
        seconds = folder.step("parts", {}, [], five_parts).seconds
    assert 42 <= seconds < 1000  # not the 4000 that went by while nobody worked


CHANGES_ON_DISK = ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir", "symlink")


def run_until_killed(root: Path, letter: str, kill_at: int) -> None:
    """In a forked process: works on the run until the `kill_at`-th change on the disk, then dies on the spot."""
    count = itertools.count()

    def dying(change):
        def changed(*arguments, **named):
            if next(count) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **named)

        return changed

    for name in CHANGES_ON_DISK:
        setattr(os, name, dying(getattr(os, name)))
    with opened(root) as folder:
        chain(folder, letter)


@pytest.mark.parametrize(
    ("start", "every"),
    [
        pytest.param("nothing", 1, marks=pytest.mark.slow),
        pytest.param("another config", 1, marks=pytest.mark.slow),
        pytest.param("files of a person's own", 1, marks=pytest.mark.slow),
        ("files of a person's own", 5),
    ],
)
def test_killed_at_any_change_on_the_disk_the_run_resumes(tmp_path, start, every):
    fork = multiprocessing.get_context("fork")
    for kill_at in itertools.count(step=every):
        root = tmp_path / str(kill_at)
        if start != "nothing":
            with opened(root) as folder:
                chain(folder)
        if start == "files of a person's own":
            (root / "first" / "notes.txt").write_text("mine")
            (root / "third" / "text.txt").write_text("by hand")
        process = fork.Process(target=run_until_killed, args=(root, "y", kill_at))
        process.start()
        process.join()
        for record_path in root.glob("[!.]*/.step.json"):  # whole steps only, old or new
            found = look(record_path.parent, load_record(record_path.parent).files)
            assert not found.missing
            assert not found.edited or record_path.parent.name == "third"
        with opened(root) as folder:
            statuses = chain(folder, "y")
            assert chain(folder, "y") == {name: "edited" if s == "edited" else "kept" for name, s in statuses.items()}
        assert [path.name for path in root.glob(".*")] == [".lock"]
        if start == "files of a person's own":
            assert (root / "first" / "notes.txt").read_text() == "mine"
            assert (root / "result.txt").read_text() == "by hand"
        else:
            assert "edited" not in statuses.values()
            assert (root / "result.txt").read_text() == "yy!"
        if process.exitcode == 0:
            break
    assert kill_at > 30

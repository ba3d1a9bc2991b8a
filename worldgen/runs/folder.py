"""The run folder: one subfolder per finished step, and `manifest.json`, which tells how each was made.

A step's files and its record appear together by one rename, so a process may be killed at any moment: the next one
finds every step either whole or absent, and what was made of it so far in a hidden folder beside (`attempts.py`). A
step runs again only when its config, the photo or what it reads has changed; files that a person changed by hand are
kept, and the later steps follow them.
"""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from worldgen.errors import UserError
from worldgen.runs.attempts import FILENAME as ATTEMPT
from worldgen.runs.attempts import attempt_at
from worldgen.runs.contents import contents_of
from worldgen.runs.disk import flush, locked, write_text
from worldgen.runs.holder import LOCK, Heartbeat, sign_off, signature
from worldgen.runs.layout import LAYOUT, MANIFEST, expect_current
from worldgen.runs.record import FILENAME, FolderState, StepRecord, key_of, load_record, look, stamp_files
from worldgen.runs.usage import PeakMemory, versions
from worldgen.slurm import patience_s

FRESH, _OLD, _GONE = ".worldgen-new", ".worldgen-old", ".worldgen-gone"  # ends of the names of folders on their way
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NOT_WRITABLE = (*_DISK_FULL, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_NO_SUCH_PLACE = (*_NOT_WRITABLE, errno.ENOENT, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
_NEXT_TO_NOTHING_BYTES = 1 << 20


Status = Literal["made", "kept", "edited"]


@dataclass(frozen=True)
class StepResult:
    """How a step came out. seconds (of all attempts) and peak_memory_mb tell what it cost when it was made, now or in
    an earlier run."""

    name: str
    path: Path
    status: Status
    seconds: float
    peak_memory_mb: float
    facts: dict[str, Any]


class RunFolder:
    """One world in the making. Open it with `with RunFolder.open(...) as folder`; it stays readable afterwards."""

    def __init__(self, root: Path, photo: dict[str, str]) -> None:
        self.root = root
        self._photo = photo
        self._links: dict[str, str] = {}
        self._records: dict[str, StepRecord] = {}
        self._content: dict[str, str] = {}
        self._edited_by_hand: dict[str, list[str]] = {}
        self._held = ExitStack()
        self._signed: IO[str] | None = None  # the lock file, while this process works here

    @classmethod
    def open(cls, root: Path, photo_sha256: str, photo_name: str = "") -> "RunFolder":
        """Makes or finds the run folder `root`, for this process alone, and sweeps up after a killed one.

        Raises UserError where it cannot be written, another process works in it, or it holds another photo's world or
        that of another version of worldgen.
        """
        folder = cls(root, {"name": photo_name, "sha256": photo_sha256})
        with disk_errors(root, _NO_SUCH_PLACE):
            expect_current(root)
            if root.exists() and not root.is_dir():
                raise UserError(f"{root}: is a file, wanted a folder for the world; out=<folder> names another")
            root.mkdir(parents=True, exist_ok=True)
            folder._sign(folder._take())
        try:
            with disk_errors(root):
                folder._recover()
                folder._load()
                folder._adopt_replaced_links()
                folder._save_manifest()
        except BaseException as error:
            folder.close(error)
            raise
        return folder

    @classmethod
    def expect_free(cls, root: Path) -> None:
        """Raises UserError where another process works in `root`, or another version of worldgen did: for who has much
        to prepare before opening it."""
        with disk_errors(root, _NO_SUCH_PLACE):
            expect_current(root)
            if (root / LOCK).is_file():
                folder = cls(root, {})
                folder._take()
                folder.close()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Lets other processes in. error: what ended the work here."""
        if self._signed is not None:
            sign_off(self._signed, error)
            self._signed = None
        self._held.close()

    def path(self, step: str, filename: str) -> Path:
        """Where a step's file is, or would be; the step's folder for `""`."""
        return self.root / step / filename

    def step(
        self,
        name: str,
        config: Mapping[str, Any],
        inputs: Sequence[str],
        produce: Callable[[Path], Mapping[str, Any] | None],
        edited_ok: bool = True,
        version: int = 1,
        assets: Mapping[str, str] | None = None,
    ) -> StepResult:
        """Sees to it that the folder of step `name` holds what `produce` makes of `config`, the photo and `inputs`.

        config: JSON-able. inputs: earlier steps, already seen to in this run, whose files `produce` reads.
        produce: writes files into the folder that it is given; returns JSON-able facts about them. The folder may hold
        what an attempt at the same step left that was killed: files that `disk.landing` and its like wrote are whole
        and may be used again; whatever else is there has to be written over.
        edited_ok: files changed by hand are kept (else they count as damaged, and the step runs again).
        version: raised when the step's code comes to make something else of the same inputs.
        assets: pretrained files that the step uses, by sha256, for the record, beside weights at paths in `config`.
        Raises UserError where the disk is full, weights cannot be read, or a step that a person edited lacks files.
        """
        folder = self.root / name
        read = {step: self._content[step] for step in inputs}
        record = self._records.get(name)
        weights = contents_of(config, record.assets if record else {})
        key = key_of(name, version, config, self._photo["sha256"], read, weights)
        found = look(folder, record.files) if record else None
        if record and found and found.edited and edited_ok:
            return self._edited(record, found, outdated=record.key != key)
        if record and found and record.key == key and not found.edited and not found.missing:
            return self._seen(record, found, "kept", record.facts)
        with disk_errors(self.root, _DISK_FULL):
            record = self._make(name, key, config, read, produce, edited_ok, {**(assets or {}), **weights})
            self._save_manifest()
        return self._seen(record, look(folder, record.files), "made", record.facts)

    def link(self, name: str, step: str, filename: str) -> None:
        """Shows a step's file at the top of the run folder, by a link. A file that a person put there stays."""
        top, target = self.root / name, f"{step}/{filename}"
        if top.exists() and not top.is_symlink():
            return
        with disk_errors(self.root):
            if not top.is_symlink() or str(top.readlink()) != target:
                _point(top, target)
            if self._links.get(name) != target:
                self._links[name] = target
                self._save_manifest()

    def _edited(self, record: StepRecord, found: FolderState, outdated: bool) -> StepResult:
        if found.missing:
            folder = self.root / record.name
            raise UserError(
                f"{folder}: {found.edited[0]} was changed by hand, but {found.missing[0]} is gone; put it back, "
                f"or delete {folder} to have the step made again"
            )
        self._edited_by_hand[record.name] = list(found.edited)
        self._save_manifest()
        facts = {**record.facts, "edited_by_hand": list(found.edited), "outdated": outdated}
        return self._seen(record, found, "edited", facts)

    def _seen(self, record: StepRecord, found: FolderState, status: Status, facts: Mapping[str, Any]) -> StepResult:
        self._content[record.name] = found.content
        folder = self.root / record.name
        shutil.rmtree(self._fresh(record.name), ignore_errors=True)  # an attempt at something else
        return StepResult(record.name, folder, status, record.seconds, record.peak_memory_mb, dict(facts))

    def _make(
        self,
        name: str,
        key: str,
        config: Mapping[str, Any],
        read: dict[str, str],
        produce: Callable[[Path], Mapping[str, Any] | None],
        editable: bool,
        assets: Mapping[str, str],
    ) -> StepRecord:
        if name not in self._records and (self.root / name).exists():
            load_record(self.root / name)  # says that this folder is somebody's own
        fresh, began = self._fresh(name), time.perf_counter()
        with attempt_at(fresh, key) as attempt:
            with PeakMemory() as peak:
                facts = dict(produce(fresh) or {})
            record = StepRecord(
                name=name,
                key=key,
                photo_sha256=self._photo["sha256"],
                config=dict(config),
                inputs=read,
                editable=editable,
                seconds=round(attempt.earlier_s + time.perf_counter() - began, 3),
                peak_memory_mb=peak.mb,
                facts=facts,
                versions=versions(),
                assets=dict(assets),
                files=stamp_files(fresh),
                attempts=attempt.number,
                peak_gpu_memory_mb=peak.gpu_mb,
            )
            record.save(fresh)
            self._swap_in(fresh, name)
        self._records[name] = record
        return record

    def _fresh(self, name: str) -> Path:
        """Where a step is made, until it is whole."""
        return self.root / f".{name}{FRESH}"

    def _swap_in(self, fresh: Path, name: str) -> None:
        """The last moment of a step: until here its previous version is in place, from here on the new one is."""
        final, old = self.root / name, self.root / f".{name}{_OLD}"
        if final.exists():
            final.rename(old)
        fresh.rename(final)
        flush(self.root)
        (final / ATTEMPT).unlink(missing_ok=True)
        if old.exists():
            _retire(old, final)

    def _take(self) -> IO[str]:
        """Locks the run folder; returns the lock file."""
        path = self.root / LOCK
        until = time.monotonic() + patience_s()
        while True:
            try:
                return self._held.enter_context(locked(path, wait=False))
            except BlockingIOError as error:
                if time.monotonic() < until:
                    time.sleep(1)
                    continue
                first = path.read_text(encoding="utf-8").partition("\n")[0]
                raise UserError(
                    f"{self.root}: process {first or 'unknown'} is making a world there; "
                    "wait for it, or choose another folder with out=<folder>"
                ) from error

    def _sign(self, lock: IO[str]) -> None:
        lock.truncate(0)
        lock.write(signature())
        lock.flush()
        self._signed = lock
        self._held.callback(Heartbeat(self.root / LOCK).stop)

    def _recover(self) -> None:
        """Puts right what a killed process left between two renames."""
        for old in self.root.glob(f".*{_OLD}"):
            final = self.root / old.name[1 : -len(_OLD)]
            if final.exists():
                _retire(old, final)
            else:
                old.rename(final)
        for gone in self.root.glob(f".*{_GONE}"):
            shutil.rmtree(gone)
        for note in self.root.glob(f"[!.]*/{ATTEMPT}"):  # of a step that is whole
            note.unlink()

    def _load(self) -> None:
        """Reads the steps' records. The manifest only repeats them, so a broken one is no loss."""
        manifest = load_json_or_nothing(self.root / MANIFEST)
        self._records = {path.parent.name: load_record(path.parent) for path in self.root.glob(f"[!.]*/{FILENAME}")}
        links = manifest.get("links", {})
        self._links = {name: target for name, target in links.items() if Path(target).parts[0] in self._records}
        photos = [manifest.get("photo", {}), *({"sha256": record.photo_sha256} for record in self._records.values())]
        for photo in photos:
            if photo.get("sha256", self._photo["sha256"]) != self._photo["sha256"]:
                known = f"{photo.get('name') or 'unnamed'}, sha256 {photo['sha256'][:12]}"
                other = f"holds a world of another photo or scene ({known})"
                raise UserError(f"{self.root}: {other}; choose another folder with out=<folder>")

    def _adopt_replaced_links(self) -> None:
        """A picture that a person saved over a link at the top becomes the step's file, edited by hand."""
        for name, target in self._links.items():
            top = self.root / name
            if top.is_file() and not top.is_symlink() and self._records[Path(target).parts[0]].editable:
                top.replace(self.root / target)
                _point(top, target)

    def _save_manifest(self) -> None:
        content = {
            "layout": LAYOUT,
            "photo": self._photo,
            "links": self._links,
            "edited_by_hand": self._edited_by_hand,
            "steps": {name: asdict(self._records[name]) for name in sorted(self._records)},
        }
        text = json.dumps(content, indent=1) + "\n"
        if text != _text(self.root / MANIFEST):  # its time tells whether the report is as new
            write_text(self.root / MANIFEST, text)


def _retire(old: Path, final: Path) -> None:
    """Removes a step's previous version, but not the files that a person added to its folder."""
    made = {*load_record(old).files, FILENAME, ATTEMPT}
    for path in sorted(old.rglob("*")):
        place = path.relative_to(old)
        if path.is_file() and place.as_posix() not in made and not (final / place).exists():
            (final / place).parent.mkdir(parents=True, exist_ok=True)
            path.rename(final / place)
    # Renamed first: a folder that is half removed has no record that could be read any more.
    shutil.rmtree(old.rename(old.with_name(old.name.removesuffix(_OLD) + _GONE)))


def _point(top: Path, target: str) -> None:
    """Makes the link `top`, replacing an older one at once."""
    fresh = top.with_name(f".{top.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(top)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def load_json_or_nothing(path: Path) -> dict[str, Any]:
    """A file of our own that is no loss: where it is not there or broken, it is empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _there(root: Path) -> bool:
    try:
        return root.exists()
    except OSError:  # a name that no disk takes
        return False


@contextmanager
def disk_errors(root: Path, kinds: Sequence[int] = _NOT_WRITABLE) -> Iterator[None]:
    """Turns what a full or read-only disk raises into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in kinds:
            what, place = error.strerror, error.filename or root
        elif _there(root) and shutil.disk_usage(root).free < _NEXT_TO_NOTHING_BYTES:  # some libraries raise their own
            what, place = os.strerror(errno.ENOSPC), root
        else:
            raise
        raise UserError(f"{place}: cannot be written ({what}); out=<folder> names another place") from error

"""What is kept about a finished step, beside its files: what it was made from, what it cost, and its files' hashes.

The record lies in the step's own folder, so that one rename makes files and record appear together.

A hash of files tells whether they are as the step left them, not what another machine would have made: from the same
seed a processor with other instructions makes files that differ by the rounding of float32, and what follows from it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.runs.disk import flush, sha256_of, write_text

FILENAME = ".step.json"


@dataclass(frozen=True)
class FileStamp:
    """A file as the step left it. Size and time tell cheaply that it has not been touched since."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class StepRecord:
    """key: hash of everything that decides the result; inputs: earlier steps and the content hashes that were read."""

    name: str
    key: str
    photo_sha256: str
    config: dict[str, Any]
    inputs: dict[str, str]
    editable: bool
    seconds: float
    peak_memory_mb: float
    facts: dict[str, Any]
    versions: dict[str, str]
    assets: dict[str, str]
    files: dict[str, FileStamp]

    def save(self, folder: Path) -> None:
        write_text(folder / FILENAME, json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True)
class Found:
    """A step's folder as it is now. sha256: what its files hold; edited: files that changed; missing: gone or empty."""

    sha256: dict[str, str]
    edited: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def content(self) -> str:
        """One hash of all files, names included: what later steps depend on."""
        return hash_of(self.sha256)


@dataclass(frozen=True)
class Wanted:
    """What a step is to be made of: its config, JSON-able, the earlier steps whose files it reads, and the version of
    its code."""

    config: dict[str, Any]
    inputs: tuple[str, ...]
    version: int = 1


def unchanged(run_dir: Path, steps: Mapping[str, Wanted], photo: Path) -> str | None:
    """The photo's sha256, where every step in `run_dir` stands for it and for what is wanted, and no file changed;
    else None. Hashes, compares, and loads nothing. steps: by name, in the recipe's order."""
    if not photo.is_file():  # a device or a pipe may never end
        return None
    try:
        photo_sha256 = sha256_of(photo)
        content: dict[str, str] = {}
        for name, wanted in steps.items():
            record = load_record(run_dir / name)
            found = look(run_dir / name, record.files)
            read = {step: content[step] for step in wanted.inputs}
            key = key_of(name, wanted.version, wanted.config, photo_sha256, read)
            if found.edited or found.missing or record.key != key:
                return None
            content[name] = found.content
    except (OSError, UserError):
        return None
    return photo_sha256


def hash_of(value: Any) -> str:
    """sha256 of a JSON-able value, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def key_of(name: str, version: int, config: Mapping[str, Any], photo_sha256: str, read: Mapping[str, str]) -> str:
    """Equal for what a step would make the same of. read: content hashes of the earlier steps whose files it reads."""
    return hash_of([name, version, config, photo_sha256, read])


def load_record(folder: Path) -> StepRecord:
    """Raises UserError where a folder has the name of a step but none of our records: it is somebody's own."""
    try:
        content = json.loads((folder / FILENAME).read_text(encoding="utf-8"))
        files = {name: FileStamp(**stamp) for name, stamp in content.pop("files").items()}
        return StepRecord(**content, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder}: not a step that worldgen made (no readable {FILENAME}); move it away") from error


def stamp_files(folder: Path) -> dict[str, FileStamp]:
    """Stamps of all files under `folder`, which are on the disk for good afterwards."""
    stamps = {}
    for path in sorted(folder.rglob("*")):
        flush(path)
        if path.is_file():
            stat = path.stat()
            stamps[path.relative_to(folder).as_posix()] = FileStamp(sha256_of(path), stat.st_size, stat.st_mtime_ns)
    return stamps


def look(folder: Path, files: Mapping[str, FileStamp]) -> Found:
    """Compares a step's files with their stamps. Files without a stamp are a person's own and do not count."""
    now = {name: _current_sha256(folder / name, stamp) for name, stamp in files.items()}
    here = {name: sha256 for name, sha256 in now.items() if sha256 is not None}
    edited = tuple(name for name, sha256 in here.items() if sha256 != files[name].sha256)
    return Found(here, edited, tuple(name for name in files if name not in here))


def _current_sha256(path: Path, stamp: FileStamp) -> str | None:
    if not path.is_file():
        return None
    stat = path.stat()
    if stat.st_size == 0 < stamp.size:
        return None  # what a crash leaves of a file; nobody empties one on purpose
    if (stat.st_size, stat.st_mtime_ns) == (stamp.size, stamp.mtime_ns):
        return stamp.sha256
    return sha256_of(path)

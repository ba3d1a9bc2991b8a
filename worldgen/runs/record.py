"""What is kept about a finished step, beside its files: what it was made from, what it cost, and its files' hashes.

The record lies in the step's own folder, so that one rename makes files and record appear together.

A hash of files tells whether they are as the step left them, not what another machine would have made: from the same
seed a processor with other instructions makes files that differ by the rounding of float32, and what follows from it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.runs import attempts
from worldgen.runs.contents import contents_of, with_contents
from worldgen.runs.disk import flush, sha256_of, write_text
from worldgen.runs.layout import LAYOUT
from worldgen.runs.steps_table import StepSpec

FILENAME = ".step.json"
_OUR_PACKAGES = ("worldgen", "train", "eval")


@dataclass(frozen=True)
class FileStamp:
    """A file as the step left it. Size and time tell cheaply that it has not been touched since."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class StepRecord:
    """What a step was made from and what it cost.

    key: hash of everything that decides the result; inputs: earlier steps and the content hashes that were read;
    seconds: of all attempts together; attempts: more than 1 where a process was killed on the way; peak_gpu_memory_mb:
    what torch held on the GPU, None without one; assets: pretrained files and folders that its config
    names, by what they hold; layout: of
    the run folder, see `layout.py`.
    """

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
    attempts: int = 1
    peak_gpu_memory_mb: float | None = None
    layout: int = LAYOUT

    def save(self, folder: Path) -> None:
        write_text(folder / FILENAME, json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True)
class FolderState:
    """A step's folder as it is now. sha256: what its files hold; edited: files that changed; missing: gone or empty."""

    sha256: dict[str, str]
    edited: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def content(self) -> str:
        """One hash of all files, names included: what later steps depend on."""
        return hash_of(self.sha256)


def unchanged(run_dir: Path, steps: Sequence[tuple[StepSpec, Mapping[str, Any]]], photo: Path) -> str | None:
    """The photo's sha256, where every step in `run_dir` stands for it and for its config, and no file changed; else
    None. Hashes, compares, and loads nothing. steps: each with its config, in the recipe's order."""
    if not photo.is_file():  # a device or a pipe may never end
        return None
    try:
        photo_sha256 = sha256_of(photo)
        content: dict[str, str] = {}
        for spec, config in steps:
            record = load_record(run_dir / spec.name)
            found = look(run_dir / spec.name, record.files)
            read = {step: content[step] for step in spec.inputs}
            weights = contents_of(config, record.assets)
            key = key_of(spec.name, spec.version, config, photo_sha256, read, weights)
            if found.edited or found.missing or record.key != key:
                return None
            content[spec.name] = found.content
    except (OSError, UserError):
        return None
    return photo_sha256


def is_made(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a step's folder holds what was made of that config, as far as its record tells."""
    try:
        return hash_of(load_record(folder).config) == hash_of(dict(config))
    except (OSError, UserError):
        return False


def hash_of(value: Any) -> str:
    """sha256 of a JSON-able value, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def key_of(
    name: str,
    version: int,
    config: Mapping[str, Any],
    photo_sha256: str,
    read: Mapping[str, str],
    weights: Mapping[str, str],
) -> str:
    """Equal for what a step would make the same of. read: content hashes of the earlier steps whose files it reads;
    weights: what lies at the places that the config names, as `contents_of` tells it."""
    return hash_of([name, version, _without_modules(with_contents(config, weights)), photo_sha256, read])


def _without_modules(node: Any) -> Any:
    """A config whose `_target_`s in our own packages are mere class names: what a class makes does not depend on the
    file that it stands in, and a world shall not be made again because one was moved. A test holds our names to be
    unique; of other people's packages the whole path counts."""
    if isinstance(node, Mapping):
        return {
            key: _class_name(value) if key == "_target_" else _without_modules(value) for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_without_modules(value) for value in node]
    return node


def _class_name(target: Any) -> Any:
    ours = isinstance(target, str) and target.partition(".")[0] in _OUR_PACKAGES
    return target.rpartition(".")[2] if ours else target


def load_record(folder: Path) -> StepRecord:
    """Raises UserError where a folder has the name of a step but none of our records: it is somebody's own."""
    try:
        content = json.loads((folder / FILENAME).read_text(encoding="utf-8"))
        files = {name: FileStamp(**stamp) for name, stamp in content.pop("files").items()}
        return StepRecord(**{"layout": 1, **content}, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder}: not a step that worldgen made (no readable {FILENAME}); move it away") from error


def stamp_files(folder: Path) -> dict[str, FileStamp]:
    """Stamps of all files under `folder` but our own notes, which are on the disk for good afterwards."""
    stamps = {}
    for path in sorted(folder.rglob("*")):
        flush(path)
        if path.is_file() and path.name not in (FILENAME, attempts.FILENAME):
            stat = path.stat()
            stamps[path.relative_to(folder).as_posix()] = FileStamp(sha256_of(path), stat.st_size, stat.st_mtime_ns)
    return stamps


def look(folder: Path, files: Mapping[str, FileStamp]) -> FolderState:
    """Compares a step's files with their stamps. Files without a stamp are a person's own and do not count."""
    now = {name: _current_sha256(folder / name, stamp) for name, stamp in files.items()}
    here = {name: sha256 for name, sha256 in now.items() if sha256 is not None}
    edited = tuple(name for name, sha256 in here.items() if sha256 != files[name].sha256)
    return FolderState(here, edited, tuple(name for name in files if name not in here))


def _current_sha256(path: Path, stamp: FileStamp) -> str | None:
    if not path.is_file():
        return None
    stat = path.stat()
    if stat.st_size == 0 < stamp.size:
        return None  # what a crash leaves of a file; nobody empties one on purpose
    if (stat.st_size, stat.st_mtime_ns) == (stamp.size, stamp.mtime_ns):
        return stamp.sha256
    return sha256_of(path)

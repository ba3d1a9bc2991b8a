"""Files that lie in a zip, under paths that go through it: scenes/0a1b.zip/0a1b/images_4/frame_00001.png.

Every function here takes paths of plain files, too. Each process opens archives for itself, to read alone, and keeps
the last few open, so that their lists of names need not be read for each file.
"""

import lzma
import os
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from worldgen.errors import UserError, first_line

ZIP = ".zip"
_KEPT_OPEN = 16


@dataclass(frozen=True, eq=False)
class _Archive:
    """file: open; names: of the files in each of its folders, "" = the top."""

    file: zipfile.ZipFile
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for info in self.file.infolist():
            if not info.is_dir():
                inside = PurePosixPath(info.filename)
                self.names[_text(inside.parent)].add(inside.name)


def is_file(path: Path) -> bool:
    """Whether there is such a file. Raises UserError, naming the zip, where that is broken."""
    if path.is_file():
        return True
    found = _through(path)
    return found is not None and path.name in _archive(found[0]).names.get(_text(found[1].parent), ())


def is_dir(path: Path) -> bool:
    """Whether there are files in it; the top of a zip is no folder. Raises UserError as `is_file`."""
    if path.is_dir():
        return True
    found = _through(path)
    return found is not None and _text(found[1]) in _archive(found[0]).names


def file_names(folder: Path) -> list[str]:
    """Of the files in a folder, in no order; none where there is no folder."""
    found = _through(folder)
    if found is not None:
        return list(_archive(found[0]).names.get(_text(found[1]), ()))
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return []


def opened(path: Path) -> BinaryIO:
    """A file to read, to be closed by who asks; of a zip's, its whole content. Raises OSError where it is not there,
    UserError where a zip's content is broken."""
    found = None if path.is_file() else _through(path)
    if found is None:
        return path.open("rb")
    try:
        return BytesIO(_archive(found[0]).file.read(_text(found[1])))
    except KeyError as error:
        raise FileNotFoundError(2, "not in the zip", str(path)) from error
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: cannot be unpacked ({first_line(error)}), wanted a whole zip") from error


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """The file itself, or a copy of a zip's that goes when the block ends. Raises as `opened`."""
    if path.is_file() or _through(path) is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="worldgen-unpacked-") as folder, opened(path) as file:
        copy = Path(folder) / path.name
        copy.write_bytes(file.read())
        yield copy


def folder_of(zipped: Path, name: str) -> Path | None:
    """The folder in a zip that holds a file of that name, the outermost one; None where there is none.

    Raises UserError, naming the zip, where that is broken.
    """
    names = _archive(zipped).names
    holding = sorted((folder for folder in names if name in names[folder]), key=lambda one: (one.count("/"), one))
    return zipped / holding[0] if holding else None


def _through(path: Path) -> tuple[Path, PurePosixPath] | None:
    """The zip that a path goes through, and the way in it; None where it goes through none."""
    for number, part in enumerate(path.parts):
        if part.lower().endswith(ZIP) and number + 1 < len(path.parts):
            zipped = Path(*path.parts[: number + 1])
            if zipped.is_file():
                return zipped, PurePosixPath(*path.parts[number + 1 :])
    return None


def _text(inside: PurePosixPath) -> str:
    return "" if inside == PurePosixPath() else str(inside)


def _archive(path: Path) -> _Archive:
    try:
        return _kept(path, os.getpid())
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: no whole zip ({first_line(error)}), wanted it as it was downloaded") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), wanted a zip") from error


@lru_cache(maxsize=_KEPT_OPEN)
def _kept(path: Path, process: int) -> _Archive:
    """process: whose it is; two that share an open file would move each other's place in it."""
    del process
    return _Archive(zipfile.ZipFile(path))

"""Folders of data sets: what is missing in them, and folders of links to what they hold."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from worldgen.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png")


class IncompleteError(UserError):
    """A folder is not laid out as its data set is. lines: one for each thing, what was found and what is wanted."""

    def __init__(self, folder: Path, lines: Sequence[str], advice: str) -> None:
        things = "one thing is" if len(lines) == 1 else f"{len(lines)} things are"
        super().__init__(f"{folder}: {things} not as wanted; {advice}")
        self.lines = tuple(lines)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name; empty where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def lacks(path: Path, wanted: str) -> str:
    """The line about a file or folder that is not there."""
    nearest = next(parent for parent in path.parents if parent.exists())
    held = sorted(child.name for child in nearest.iterdir() if not child.name.startswith("."))[:4]
    found = f"nothing; {nearest.name or nearest}/ holds {', '.join(held) or 'nothing'}"
    return f"{path}: found {found}, wanted {wanted}"


def link_all(files: Mapping[str, Path], folder: Path) -> None:
    """Makes `folder` hold links to files, by the names without suffix; copies where there can be no links.

    Older links of these names are replaced, other files stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        link = folder / f"{name}{path.suffix.lower()}"
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(path.resolve())
        except OSError:  # a filesystem without links
            shutil.copyfile(path, link)

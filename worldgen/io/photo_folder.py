"""The photos of a folder, by their names; whatever else lies there is said and left out."""

import logging
from collections.abc import Sequence
from pathlib import Path

from worldgen.errors import UserError
from worldgen.io.photo_formats import picture_suffixes

_SYSTEM_FILES = ("thumbs.db", "desktop.ini")
_SIDECARS = (".xmp", ".aae")
_NAMED = 5  # files of a kind that a line names

_log = logging.getLogger("worldgen")


def photos_in(folder: Path) -> list[Path]:
    """The files in a folder that are pictures by their names, sorted; a line says what else is there and left out.

    Raises UserError where there are none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, wanted one with photos")
    suffixes = picture_suffixes()
    files = sorted(path for path in folder.iterdir() if not path.is_dir())
    ours = [path for path in files if not is_systems_own(path)]
    photos = [path for path in ours if path.suffix.lower() in suffixes and path.is_file()]
    if not photos:
        raise UserError(f"{folder}: no photos there, wanted JPEG, PNG, WebP, HEIC, TIFF or the like")
    left_out = _left_out(files, ours, photos)
    if left_out:
        _log.warning("%s: %d photos; left out: %s", folder, len(photos), left_out)
    return photos


def is_systems_own(path: Path) -> bool:
    """Whether a file is one that an operating system leaves in folders of photos, or a hidden one."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES


def _left_out(files: Sequence[Path], ours: Sequence[Path], photos: Sequence[Path]) -> str:
    others = [path for path in ours if path not in photos]
    sidecars = [path for path in others if path.suffix.lower() in _SIDECARS]
    named = [path.name for path in others if path not in sidecars]
    parts = [
        _counted(len(files) - len(ours), "hidden or system file"),
        _counted(len(sidecars), "sidecar"),
        ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""),
    ]
    return ", ".join(part for part in parts if part)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}" if count else ""

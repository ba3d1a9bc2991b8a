"""The names of run folders: the photo's own, or, where another photo has that one, a name that tells them apart."""

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from worldgen.runs.disk import sha256_of

_log = logging.getLogger("worldgen")


def run_folder(base: Path, photo: Path, suffix: str = "", namesakes: Collection[str] = ()) -> Path:
    """`base`/<the photo's name>-<suffix>, for one that has that name alone. Where `namesakes` says that others have it,
    or the folder holds another photo's world: with the ending of the photo's file; then with its hash, too.

    A photo that has a folder by any of these names keeps it.
    """
    names = [name for name in _names(photo) if name.casefold() not in namesakes]
    folders = [base / _joined(name, suffix) for name in names]
    if folders and not any(folder.exists() for folder in folders):
        return folders[0]
    try:
        sha256 = sha256_of(photo) if photo.is_file() else None
    except OSError:
        sha256 = None
    if sha256 is None:  # which is told later
        return base / _joined(_names(photo)[0], suffix)
    folders.append(base / _joined(f"{photo.name}-{sha256[:6]}", suffix))
    held = [_photo_in(folder) for folder in folders]
    for folder, other in zip(folders, held, strict=True):
        if other == sha256:
            return folder
    chosen = next((folder for folder, other in zip(folders, held, strict=True) if other is None), folders[-1])
    if chosen != folders[0]:
        _log.warning("%s: holds the world of another photo or scene, that of %s goes to %s", folders[0], photo, chosen)
    return chosen


def namesakes_among(photos: Iterable[Path]) -> list[str]:
    """The names that several photos have, with their files' endings or without; in small letters, for disks that do not
    tell these from capitals."""
    counted = Counter(name for photo in set(photos) for name in {name.casefold() for name in _names(photo)})
    return sorted(name for name, count in counted.items() if count > 1)


def _names(photo: Path) -> tuple[str, ...]:
    short = photo.stem if photo.stem.strip(".") else photo.name  # "..jpg" shall be no step up
    return short, photo.name


def _joined(name: str, suffix: str) -> str:
    return f"{name}-{suffix}" if suffix else name


def _photo_in(folder: Path) -> str | None:
    """The sha256 of the photo whose world a run folder holds; None where it holds none."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["photo"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None

"""Names of files: which are pictures or splats, which of the others are worth a word, and how a name is shown."""

import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from worldgen.io.photo_folder import is_systems_own
from worldgen.io.photo_formats import picture_suffixes

SPLAT_FILES = (".ply", ".spz")
_NAMED = 5  # files that a note names; the others it counts
_UNPRINTABLE = ("Cc", "Zl", "Zp")  # what would break a line or a terminal


def is_picture(path: Path) -> bool:
    """Whether a file is one of the pictures that `image=` reads, by the end of its name."""
    return path.suffix.lower() in _picture_suffixes() and path.is_file()


def is_splats(path: Path) -> bool:
    """Whether a file is one that other tools keep splats in, by the end of its name."""
    return path.suffix.lower() in SPLAT_FILES and path.is_file()


def without_suffix(name: str) -> str:
    """A file's name as an image's: without .png and the like."""
    path = Path(name)
    return str(path.with_suffix("")) if path.suffix.lower() in (*_picture_suffixes(), *SPLAT_FILES) else name


def shown(text: str) -> str:
    """A file's name, or a text that holds one, as it can be printed, stored and compared everywhere.

    Bytes that are no UTF-8 (names from old archives) as \\xe9, signs that break lines as \\n; accents in one form,
    whichever one the disk keeps (macOS takes them apart).
    """
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    composed = unicodedata.normalize("NFC", whole)
    return "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) in _UNPRINTABLE else sign
        for sign in composed
    )


def left_out_note(others: Iterable[Path], folder: Path | None = None) -> tuple[str, ...]:
    """One line that counts and names what is not scored, relative to `folder`; none where there is nothing."""
    names = [
        shown(str(path.relative_to(folder) if folder else path.name)) + "/" * path.is_dir()
        for path in others
        if not is_systems_own(path)
    ]
    if not names:
        return ()
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (f"not scored: {len(names)}: {', '.join(names[:_NAMED])}{more}",)


@cache
def _picture_suffixes() -> frozenset[str]:
    return picture_suffixes()

"""Which arrangement of files a run folder has: one of an earlier worldgen is told from ours, and left as it is."""

import json
from pathlib import Path
from typing import Any

from worldgen.errors import UserError

LAYOUT = 2
"""Raised when steps come to leave other files than the readers of before know.

1: before layouts were numbered; the photo's field of view is in fov/fov.json. 2: the photo's camera is in
fov/camera.json.
"""
MANIFEST = "manifest.json"


def layout_of(content: dict[str, Any]) -> int | None:
    """The layout that a manifest or a step's record speaks of; None where it tells of no step."""
    if not (content.get("steps") or "key" in content):
        return None
    found = content.get("layout", 1)
    return found if isinstance(found, int) else 1


def expect_current(root: Path) -> None:
    """Raises UserError where the world in `root` was made by another version of worldgen; changes nothing there."""
    for path in (root / MANIFEST, *root.glob("*/.step.json")):
        layout = layout_of(_content(path))
        if layout not in (None, LAYOUT):
            age = "an earlier" if layout < LAYOUT else "a later"
            raise UserError(f"{root}: made by {age} version of worldgen, wanted another folder with out=<folder>")


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

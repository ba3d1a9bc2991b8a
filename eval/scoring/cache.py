"""Scores that were computed before, in the user's cache: one small file per picture, companion, metric and versions.

What decides a score is part of its name, so nothing in here is ever out of date; deleting the folder costs only time.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from worldgen.errors import UserError
from worldgen.paths import cache_dir


@dataclass(frozen=True)
class Entry:
    """What one score depends on. picture and companion: their sources' identities, or the text itself; "": none."""

    picture: str
    companion: str
    metric: str
    versions: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Hex digest of all of it: the entry's file name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class ScoreCache:
    """A folder of scores, by default in the user's cache. Processes may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_dir() / "scores"

    def get(self, entry: Entry) -> float | None:
        """The score, or None where there is none, or where its file is damaged."""
        try:
            found = json.loads(self.path(entry).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or found.get("of") != asdict(entry):
            return None
        value = found.get("value")
        return value if isinstance(value, float) else None

    def put(self, entry: Entry, value: float) -> None:
        """Keeps a score. Raises UserError where the folder cannot be written."""
        path = self.path(entry)
        text = json.dumps({"value": float(value), "of": asdict(entry)})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)  # unflushed: a power cut costs a score, not minutes of waiting for the disk
        except OSError as error:
            raise UserError(
                f"{path.parent}: cannot be written ({error.strerror}), wanted room for scores; WORLDGEN_CACHE names it"
            ) from error

    def path(self, entry: Entry) -> Path:
        """The entry's file, in one of 256 folders so that none grows too long to list."""
        digest = entry.digest
        return self._folder / digest[:2] / f"{digest[2:]}.json"

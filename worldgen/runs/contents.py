"""Weights that a config names by a place on this machine count by what they hold: a step is made again where they were
changed in their folder, and not where the same ones lie elsewhere.

All of a file is read, since training may change a few tensors in the middle of it and leave its size, and copies do not
keep times. It is read once: as long as its size and time stay, what was found is taken from the user's cache.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.paths import cache_dir, user_path
from worldgen.runs.disk import locked, sha256_of, write_text

_LOADED = (".safetensors", ".bin", ".pt", ".pth", ".json", ".txt", ".model", ".jinja")  # no other framework's
_CACHE = "sha256.json"
_SMALL_BYTES = 1 << 20  # read again each time
_SETTLED_NS = 2 * 10**9  # some disks tell times by the second: a younger file may change and keep its time


def contents_of(config: Any, before: Mapping[str, str]) -> dict[str, str]:
    """What lies at each place of weights in a config of plain lists and dicts, by the place's name there.

    before: the same of a finished step: what is gone since has not been changed. Raises UserError for what cannot be
    read.
    """
    found = {name: content_of(path) or before.get(name) for _, name, path in _all_places(config)}
    return {name: content for name, content in found.items() if content is not None}


def with_contents(node: Any, contents: Mapping[str, str]) -> Any:
    """A config with what lies at its places of weights instead of their names."""
    if isinstance(node, Mapping):
        inside = {key: with_contents(child, contents) for key, child in node.items()}
        return inside | {key: contents[name] for key, name, _ in _places(node) if name in contents}
    if isinstance(node, list | tuple):
        return [with_contents(child, contents) for child in node]
    return node


def content_of(path: Path) -> str | None:
    """sha256 of a file; of a folder one over the names and contents of the files in it that can be loaded; None where
    neither is. Raises UserError for what cannot be read."""
    try:
        if path.is_file():
            return _sha256s([path])[0]
        if not path.is_dir():
            return None
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in _LOADED)
        listed = zip(files, _sha256s(files), strict=True)
        lines = [f"{file.relative_to(path).as_posix()} {sha256}\n" for file, sha256 in listed]
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be read: {error.strerror}") from error
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _all_places(node: Any) -> Iterator[tuple[str, str, Path]]:
    if isinstance(node, Mapping):
        yield from _places(node)
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()
    for child in children:
        yield from _all_places(child)


def _places(node: Mapping[str, Any]) -> Iterator[tuple[str, str, Path]]:
    """An adapter's `path`, and the `model` of a LoRA, which may be the hub's: key, a name for the place, the place."""
    path, model, file = (node.get(key) for key in ("path", "model", "file"))
    if "_target_" in node and isinstance(path, str):
        yield "path", path, user_path(path)
    elif isinstance(model, str) and isinstance(file, str):
        place = user_path(model)
        yield "model", f"{model}: {file}", place / file if place.is_dir() else place


def _sha256s(files: list[Path]) -> list[str]:
    """Of each file, by the user's cache where it knows it as it is now."""
    kept, found, new = _kept(), [], {}
    for file in files:
        stat, name = file.stat(), str(file.resolve())
        size, mtime_ns, sha256 = kept.get(name, (-1, -1, ""))
        if (size, mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            sha256 = sha256_of(file)
            if stat.st_size > _SMALL_BYTES and time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
                new[name] = (stat.st_size, stat.st_mtime_ns, sha256)
        found.append(sha256)
    if new:
        _keep(new)
    return found


def _kept() -> dict[str, Any]:
    """Of each file its size, time and sha256. What cannot be read is hashed again, as if it were not there."""
    try:
        kept = json.loads((cache_dir() / _CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError, UserError):
        return {}
    entries = kept.items() if isinstance(kept, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, list) and len(entry) == 3}


def _keep(new: Mapping[str, tuple[int, int, str]]) -> None:
    """Where nothing can be written it is hashed again by the next process."""
    with suppress(OSError, UserError):
        folder = cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{_CACHE}.lock", wait=True):
            write_text(folder / _CACHE, json.dumps(_kept() | dict(new), indent=1) + "\n")

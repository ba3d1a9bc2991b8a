"""What a method left behind: panoramas, images, frames, splats or run folders, recognised by looking, listed by name.

    examine("mvdiffusion", "outputs/mvdiffusion").items

Whatever is broken is named in `failed`, and the rest is still scored.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.protocols.file_names import is_picture, is_splats, left_out_note, shown
from eval.protocols.outputs import Item, Kind, Output, children_of, is_panorama, pictures_in
from eval.protocols.picture_sources import splats_note
from eval.protocols.runs import Run, is_run, read_run
from eval.scoring.scores import WHOLE_SET
from worldgen.errors import UserError
from worldgen.io.photo import examine as examine_photo
from worldgen.io.photo_folder import is_systems_own
from worldgen.paths import user_path

UNKNOWN = "unknown"
WANTED = (
    "wanted pictures (PNG, TIFF, JPEG, WebP, AVIF and the like), one subfolder of frames per scene, "
    "splats (.ply, .spz), or run folders"
)


def examine(method: str, path: str | Path) -> Output:
    """Looks at what is at `path`: a file, a folder, or a pattern such as `runs/venice-*`.

    Raises UserError where nothing is there that could be scored.
    """
    place = user_path(path)
    if not place.exists() and any(sign in str(path) for sign in "*?["):
        return _from_pattern(method, str(place))
    if not place.exists():
        raise UserError(f"methods.{method}: {path}: no such file or folder, {WANTED}")
    if place.is_file():
        return _from_files(method, str(path), [place])
    if is_run(place):
        return _from_runs(method, str(path), [place])
    children = children_of(place)
    if any(map(is_run, children)):
        return _from_runs(method, str(path), children)
    if any(is_picture(child) or is_splats(child) for child in children):
        return _from_files(method, str(path), children)
    scenes = {child: pictures_in(child) for child in children if child.is_dir()}
    if any(scenes.values()):
        return _from_scenes(method, str(path), scenes, [child for child in children if child not in scenes])
    holds = ", ".join(shown(child.name) for child in children[:3]) + (", ..." if len(children) > 3 else "")
    raise UserError(f"methods.{method}: {path} {f'holds {holds}' if children else 'is empty'}, {WANTED}")


def by_config(output: Output, key: str) -> dict[str, Output]:
    """Runs told apart by a setting such as `panorama.heuristic`: one method for each value, named as it is.

    Runs of which it is not known come as the method `unknown`. Raises UserError for anything but runs.
    """
    if output.kind != "runs":
        raise UserError(f"{output.path}: holds {output.kind}, wanted run folders to tell apart by {key}")
    groups: dict[str, list[Item]] = {}
    for item in _run_items([item.run for item in output.items if item.run]):
        value = item.run.value(key) if item.run else None
        groups.setdefault(value or UNKNOWN, []).append(item)
    found = {
        value: replace(output, method=value, items=_names_apart(groups[value]), failed={}, group_by=key)
        for value in sorted(groups)
    }
    if output.failed:
        first = found.get(UNKNOWN) or replace(output, method=UNKNOWN, items=(), group_by=key)
        found[UNKNOWN] = replace(first, failed=dict(output.failed))
    return found


def _from_pattern(method: str, pattern: str) -> Output:
    start = Path(Path(pattern).anchor)
    try:
        found = sorted(start.glob(str(Path(pattern).relative_to(start))))
    except ValueError as error:
        raise UserError(f"methods.{method}: {pattern}, wanted a pattern such as runs/* ({error})") from error
    found = [path for path in found if not is_systems_own(path)]
    if not found:
        raise UserError(f"methods.{method}: {pattern}: nothing has such a name, {WANTED}")
    if any(map(is_run, found)):
        return _from_runs(method, pattern, found)
    if all(path.is_file() for path in found):
        return _from_files(method, pattern, found)
    raise UserError(f"methods.{method}: {pattern} finds {shown(found[0].name)}, wanted run folders, pictures or splats")


def _from_files(method: str, path: str, files: Sequence[Path]) -> Output:
    """Pictures or splats that lie side by side; a note names what else does."""
    pictures, splats = (list(filter(is_one, files)) for is_one in (is_picture, is_splats))
    if pictures and splats:
        both = f"pictures ({shown(pictures[0].name)}) and splats ({shown(splats[0].name)})"
        raise UserError(f"methods.{method}: {path} holds {both}, wanted one kind")
    if not pictures and not splats:
        raise UserError(f"methods.{method}: {path} ends in {files[0].suffix or 'nothing'!r}, {WANTED}")
    items, failed = _each(pictures or splats, _picture if pictures else _splats)
    _some_left(method, path, items, failed)
    scenes = [file for file in files if file.is_dir() and pictures_in(file)]
    nested = f"pictures in subfolders are not scored: {', '.join(shown(folder.name) for folder in scenes)}"
    others = [file for file in files if file not in (*pictures, *splats, *scenes)]
    notes = ((nested,) if scenes and pictures else ()) + left_out_note(others) + _own_notes(items)
    panoramas = all(is_panorama(item) for item in items)
    kind: Kind = "splats" if splats else "panoramas" if panoramas else "images"
    return Output(method, path, kind, _names_apart(items), failed, notes)


def _from_scenes(method: str, path: str, scenes: dict[Path, list[Path]], stray: Sequence[Path]) -> Output:
    """stray: what lies beside the scenes' folders."""
    items: list[Item] = []
    failed: dict[str, str] = {}
    others = list(stray)
    for folder, files in scenes.items():
        frames, broken = _each(files, _picture)
        named = [replace(item, frame=item.image) for item in _names_apart(frames)]
        items += [replace(item, image=_no_reserved(shown(folder.name))) for item in named]
        failed |= {f"{shown(folder.name)}/{name}": why for name, why in broken.items()}
        others += [child for child in children_of(folder) if child not in files] if files else []
    _some_left(method, path, items, failed)
    empty = [shown(folder.name) for folder, files in scenes.items() if not files]
    notes = (f"subfolders without pictures: {', '.join(empty)}",) if empty else ()
    left_out = left_out_note(others, next(iter(scenes)).parent)
    return Output(method, path, "frames", tuple(items), failed, (*notes, *left_out))


def _from_runs(method: str, path: str, folders: Sequence[Path]) -> Output:
    runs, failed = _each([folder for folder in folders if is_run(folder)], read_run)
    others = [shown(folder.name) for folder in folders if not is_run(folder)]
    notes = (f"not run folders, not scored: {', '.join(others)}",) if others else ()
    return Output(method, path, "runs", _names_apart(_run_items(runs)), failed, notes)


def _run_items(runs: Sequence[Run]) -> list[Item]:
    """Runs by the names of their photos, with the seed where there are several; maybe several of one name."""
    several_seeds = len({run.seed for run in runs}) > 1
    photos = Counter(name for name, _ in {(run.photo_name, run.photo_sha256) for run in runs})
    items = []
    for run in runs:
        name = shown(_without_suffix(run.photo_name) or run.folder.name)
        if photos[run.photo_name] > 1:
            name += f"-{run.photo_sha256[:6]}"
        items.append(Item(_no_reserved(name + f"-seed{run.seed}" * several_seeds), run.folder, run=run))
    return items


def _without_suffix(name: str) -> str:
    """A photo's name without .jpg and the like; a scene's, such as room-0.5px, as it is."""
    path = Path(name)
    return name if path.suffix[1:2].isdigit() else path.stem


def _names_apart(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items of which no two have the same name: those that did get the whole names of their files or folders."""
    counts = Counter(item.image for item in items)

    def apart(item: Item) -> Item:
        if counts[item.image] == 1:
            return item
        whole = shown(item.path.name)
        return replace(item, image=f"{item.image} ({whole})" if item.run else whole)

    return tuple(apart(item) for item in items)


def _each(paths: Iterable[Path], read: Callable[[Path], Any]) -> tuple[list[Any], dict[str, str]]:
    """What `read` makes of each path, and by name why it makes nothing of others."""
    found, failed = [], {}
    for path in paths:
        try:
            found.append(read(path))
        except UserError as error:
            failed[shown(path.name)] = shown(str(error).removeprefix(f"{path}: "))
    return found, failed


def _picture(path: Path) -> Item:
    shape = examine_photo(path)
    return Item(_no_reserved(shown(path.stem)), path, size=(shape.width, shape.height))


def _splats(path: Path) -> Item:
    return Item(_no_reserved(shown(path.stem)), path, note=splats_note(path))


def _own_notes(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(f"{shown(item.path.name)}: {item.note}" for item in items if item.note)


def _some_left(method: str, path: str, items: Sequence[Item], failed: dict[str, str]) -> None:
    if not items:
        name, why = next(iter(failed.items()))
        raise UserError(f"methods.{method}: {path}: none of {len(failed)} files can be scored; {name}: {why}")


def _no_reserved(name: str) -> str:
    """A name that is not the one of whole sets."""
    return f"{name} (image)" if name == WHOLE_SET else name

"""What a method left behind: panoramas, images, frames, splats or run folders, recognised by looking, listed by name.

    examine("mvdiffusion", "outputs/mvdiffusion").items

Whatever is broken is named in `failed`, and the rest is still scored.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from eval.protocols.file_frames import OURS, FileFrame, frame_record
from eval.protocols.file_names import is_picture, is_splats, left_out_note, shown
from eval.protocols.runs import Run, is_run, read_run
from eval.protocols.sources import splats_note
from eval.scoring.scores import WHOLE_SET
from worldgen.errors import UserError
from worldgen.io.photo import examine as examine_photo
from worldgen.io.photo_folder import is_systems_own
from worldgen.paths import user_path

Kind = Literal["panoramas", "images", "frames", "splats", "runs"]
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
UNKNOWN = "unknown"
WANTED = (
    "wanted pictures (PNG, TIFF, JPEG, WebP, AVIF and the like), one subfolder of frames per scene, "
    "splats (.ply, .spz), or run folders"
)


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to score. image: the photo or scene; path: a picture, a splat file or a run folder; frame: the name of
    the picture within its scene, if it has one; size: of a picture, width and height in pixels, upright;
    truth: the true picture of the same view, where that is known; world: of splats, how their coordinates are meant;
    note: what a table's reader should know of it."""

    image: str
    path: Path
    frame: str = ""
    size: tuple[int, int] | None = None
    run: Run | None = None
    truth: Path | None = None
    world: FileFrame = OURS
    note: str = ""

    @property
    def label(self) -> str:
        """What a person finds it by: a run's folder, or the name of the picture or splats."""
        return shown(self.path.name) if self.run else f"{self.image}/{self.frame}".rstrip("/")


@dataclass(frozen=True, eq=False)
class Output:
    """All that a method made. failed: file or image to why it cannot be scored; notes: what a table's reader should
    know; group_by: the setting that tells it from the other runs at `path`."""

    method: str
    path: str
    kind: Kind
    items: tuple[Item, ...]
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    group_by: str | None = None

    @property
    def images(self) -> list[str]:
        return sorted({item.image for item in self.items})

    def record(self) -> dict[str, Any]:
        """This method's entry in evaluation.json."""
        told: dict[str, Any] = {"notes": list(self.notes)} if self.notes else {}
        told |= {"group_by": self.group_by} if self.group_by else {}
        told |= frame_record(self.items[0].world) if self.items else {}
        return {"path": self.path, "kind": self.kind, "images": self.images, "failed": self.failed} | told


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
    children = _children(place)
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
        groups.setdefault(item.run.value(key) or UNKNOWN, []).append(item)
    found = {
        value: replace(output, method=value, items=_names_apart(groups[value]), failed={}, group_by=key)
        for value in sorted(groups)
    }
    if output.failed:
        first = found.get(UNKNOWN) or replace(output, method=UNKNOWN, items=(), group_by=key)
        found[UNKNOWN] = replace(first, failed=dict(output.failed))
    return found


def size_note(items: Iterable[Item]) -> tuple[str, ...]:
    """One line where pictures are of several sizes: scores of different sizes do not compare."""
    sizes = Counter(item.size for item in items if item.size)
    if len(sizes) < 2:
        return ()
    told = ", ".join(f"{count} of {width}x{height}" for (width, height), count in sorted(sizes.items()))
    return (f"pictures of mixed sizes ({told}): BRISQUE and NIQE change with the size",)


def lossy_note(items: Iterable[Item]) -> tuple[str, ...]:
    """One line where pictures are JPEG files."""
    items = list(items)
    lossy = sum(item.path.suffix.lower() in LOSSY_SUFFIXES for item in items)
    note = f"{lossy} of {len(items)} pictures are JPEG, which moves NIQE by a point: wanted lossless"
    return (note,) if lossy else ()


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
        others += [child for child in _children(folder) if child not in files] if files else []
    _some_left(method, path, items, failed)
    empty = [shown(folder.name) for folder, files in scenes.items() if not files]
    notes = (f"subfolders without pictures: {', '.join(empty)}",) if empty else ()
    notes += left_out_note(others, next(iter(scenes)).parent)
    return Output(method, path, "frames", tuple(items), failed, notes)


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


def is_panorama(item: Item) -> bool:
    """Whether a picture is twice as wide as high, as far as its header tells."""
    return item.size is None or item.size[0] == 2 * item.size[1]


def _some_left(method: str, path: str, items: Sequence[Item], failed: dict[str, str]) -> None:
    if not items:
        name, why = next(iter(failed.items()))
        raise UserError(f"methods.{method}: {path}: none of {len(failed)} files can be scored; {name}: {why}")


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, sorted; none where there is no such folder."""
    return [path for path in _children(folder) if is_picture(path)] if folder.is_dir() else []


def _children(folder: Path) -> list[Path]:
    """What a folder holds, but for what is hidden or an operating system's own."""
    try:
        return sorted(path for path in folder.iterdir() if not is_systems_own(path))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error


def _no_reserved(name: str) -> str:
    """A name that is not the one of whole sets."""
    return f"{name} (image)" if name == WHOLE_SET else name

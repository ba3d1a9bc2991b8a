"""What a method left behind, as far as it was looked at: its items, and what a table's reader should know of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from eval.protocols.file_frames import OURS, FileFrame, frame_record
from eval.protocols.file_names import is_picture, shown
from eval.protocols.runs import Run
from worldgen.errors import UserError
from worldgen.io.photo_folder import is_systems_own

Kind = Literal["panoramas", "images", "frames", "splats", "runs"]
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")


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
        about: dict[str, Any] = {"notes": list(self.notes)} if self.notes else {}
        about |= {"group_by": self.group_by} if self.group_by else {}
        about |= frame_record(self.items[0].world) if self.items else {}
        return {"path": self.path, "kind": self.kind, "images": self.images, "failed": self.failed} | about


def is_panorama(item: Item) -> bool:
    """Whether a picture is twice as wide as high, as far as its header tells."""
    return item.size is None or item.size[0] == 2 * item.size[1]


def size_note(items: Iterable[Item]) -> tuple[str, ...]:
    """One line where pictures are of several sizes: scores of different sizes do not compare."""
    sizes = Counter(item.size for item in items if item.size)
    if len(sizes) < 2:
        return ()
    counts = ", ".join(f"{count} of {width}x{height}" for (width, height), count in sorted(sizes.items()))
    return (f"pictures of mixed sizes ({counts}): BRISQUE and NIQE change with the size",)


def lossy_note(items: Iterable[Item]) -> tuple[str, ...]:
    """One line where pictures are JPEG files."""
    items = list(items)
    lossy = sum(item.path.suffix.lower() in LOSSY_SUFFIXES for item in items)
    note = f"{lossy} of {len(items)} pictures are JPEG, which moves NIQE by a point: wanted lossless"
    return (note,) if lossy else ()


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, sorted; none where there is no such folder."""
    return [path for path in children_of(folder) if is_picture(path)] if folder.is_dir() else []


def children_of(folder: Path) -> list[Path]:
    """What a folder holds, but for what is hidden or an operating system's own."""
    try:
        return sorted(path for path in folder.iterdir() if not is_systems_own(path))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error


def placed(outputs: Sequence[Output], frames: Mapping[str, FileFrame]) -> list[Output]:
    """The outputs, those of splats in the frames that were told. Raises UserError where one holds anything else."""
    for output in outputs:
        if output.method in frames and output.kind != "splats":
            what = f"methods.{output.method}.axes, .scale, .origin"
            raise UserError(f"{what}: {output.path} holds {output.kind}, wanted splats (.ply, .spz)")
    return [
        replace(output, items=tuple(replace(item, world=frames[output.method]) for item in output.items))
        if output.method in frames
        else output
        for output in outputs
    ]

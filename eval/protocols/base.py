"""Protocols: which pictures of a method's output are scored, and by what. conf/protocol/*.yaml set them, one file each.

pictures = PanoramaProtocol(name="panorama", metrics=["niqe"]).pictures("ours", "runs/*")
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eval.protocols.file_names import shown
from eval.protocols.methods import examine
from eval.protocols.outputs import Item, Kind, Output, pictures_in
from eval.protocols.picture_sources import ImageFile
from eval.protocols.pictures import Picture, Source
from worldgen.errors import UserError, expect
from worldgen.paths import user_path

WHOLE_PICTURE = "picture"  # the view of what is scored as it stands
LARGEST_PX = 16384


@dataclass(frozen=True, eq=False)
class Collected:
    """What a protocol makes of a method's output. output.items: what is scored; output.failed: what is not, and why."""

    pictures: list[Picture]
    output: Output


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """name: of the file in conf/protocol; metrics: names of files in conf/metric; photos: a folder of input photos by
    the images' names, for metrics that compare with them, None = as seen in our runs' panoramas."""

    name: str
    metrics: tuple[str, ...]
    photos: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(self.metrics))
        expect("protocol.metrics", list(self.metrics), bool(self.metrics), "one name of conf/metric at least")

    def settings(self) -> dict[str, Any]:
        """All settings, for evaluation.json."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def examine(self, method: str, path: str | Path) -> Output:
        """Looks at what a method left. Raises UserError where there is nothing to score."""
        return examine(method, path)

    def pictures(self, method: str, path: str | Path) -> list[Picture]:
        """What is to be scored of a method. Raises UserError where there is nothing."""
        return self.collect(self.examine(method, path)).pictures

    def collect(self, output: Output) -> Collected:
        """The same of an output that was looked at before. Raises UserError where it is none for this protocol."""
        self.expect_kind(output)
        photos = _photos(self.photos)
        pictures: list[Picture] = []
        items: list[Item] = []
        failed = dict(output.failed)
        for item in output.items:
            try:
                looks = self.looks(item)
            except UserError as error:
                failed[item.label] = shown(str(error).removeprefix(f"{item.path}: "))
                continue
            items.append(item)
            companions = _companions(item, photos)
            pictures += [
                Picture(output.method, item.image, view, rgb, truth=self.truth_of(item, rgb), **companions)
                for view, rgb in looks
            ]
        if not items and output.kind != "runs":  # runs that all failed are a result, which tables show
            name, why = next(iter(failed.items()))
            raise UserError(f"methods.{output.method}: {output.path}: nothing to score; {name}: {why}")
        notes = (*output.notes, *self.notes(items), *_without_photo(items, photos, self.photos))
        return Collected(pictures, replace(output, items=tuple(items), failed=failed, notes=notes))

    @abstractmethod
    def expect_kind(self, output: Output) -> None:
        """Raises UserError where a method's output is of no use here."""

    @abstractmethod
    def looks(self, item: Item) -> list[tuple[str, Source]]:
        """The views of one item, by name. Raises UserError where it has none."""

    def truth_of(self, item: Item, look: Source) -> Source | None:
        """The true picture of one look at an item, where there is one."""
        del look
        return ImageFile(item.truth) if item.truth else None

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        """What a table's reader should know of the items."""
        del items
        return ()


def _companions(item: Item, photos: Mapping[str, Path]) -> dict[str, Any]:
    """What a picture may be compared with, by the names of Picture's fields."""
    given = photos.get(photo_name(item))
    photo = ImageFile(given) if given else item.run.photo() if item.run else None
    if item.run is None:
        return {"photo": photo}
    return {"photo": photo, "text": item.run.prompt, "lens": item.run.lens}


def _photos(folder: str | None) -> dict[str, Path]:
    """Input photos by their names. Raises UserError where the folder holds none."""
    if folder is None:
        return {}
    place = user_path(folder)
    found = {shown(path.stem): path for path in pictures_in(place)}
    if not found:
        raise UserError(f"protocol.photos: {folder} holds no pictures, wanted a folder with the input photos")
    return found


def photo_name(item: Item) -> str:
    """The name of the photo that an item was made from."""
    return shown(Path(item.run.photo_name).stem) if item.run else item.image


def _without_photo(items: Sequence[Item], photos: Mapping[str, Path], folder: str | None) -> tuple[str, ...]:
    missing = sorted({photo_name(item) for item in items} - set(photos)) if folder else []
    return (f"no photo in {folder} for: {', '.join(missing)}",) if missing else ()


def expect_kind_of(output: Output, kinds: Sequence[Kind], protocol: str, wanted: str) -> None:
    """Raises UserError, naming what is `wanted`, for an output of no use to the protocol of that name."""
    if output.kind not in kinds:
        raise UserError(
            f"methods.{output.method}: {output.path} holds {output.kind}, wanted {wanted} for protocol={protocol}"
        )


def expect_camera(fov_deg: float, size: int) -> None:
    """Raises UserError for settings that make no camera. fov_deg: horizontal = vertical; size: pixels of a side."""
    expect("protocol.fov_deg", fov_deg, 10 <= fov_deg <= 150, "10 to 150 degrees")
    expect("protocol.size", size, 16 <= size <= LARGEST_PX, f"16 to {LARGEST_PX} pixels")

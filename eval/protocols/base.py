"""Protocols: which pictures of a method's output are scored, and by what. conf/protocol/*.yaml set them, one file each.

pictures = PanoramaProtocol(name="panorama", metrics=["niqe"]).pictures("ours", "runs/*")
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eval.protocols.file_names import SPLAT_FILES, shown
from eval.protocols.methods import Item, Kind, Output, examine, is_panorama, lossy_note, pictures_in, size_note
from eval.protocols.pairs import PREDICTED, TRUE, examine_pairs, paired
from eval.protocols.pictures import Picture, Source
from eval.protocols.sources import FlatPanorama, ImageFile, PanoramaView, SplatView, pose_of
from eval.protocols.trajectories import corner_places, path_places
from worldgen.errors import UserError
from worldgen.paths import user_path

WHOLE_PICTURE = "picture"  # the view of what is scored as it stands
HELD_OUT_DIR = "held_out"  # of a run's step `splat`
_LARGEST_PX = 16384


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
        _expect("metrics", list(self.metrics), bool(self.metrics), "one name of conf/metric at least")

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


@dataclass(frozen=True, kw_only=True)
class PanoramaProtocol(Protocol):
    """Perspective views round a panorama's horizon. views: how many, evenly, the first straight ahead; fov_deg:
    horizontal = vertical; size: pixels of a view's side."""

    views: int = 6
    pitch_deg: float = 0.0
    fov_deg: float = 90.0
    size: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect("views", self.views, 1 <= self.views <= 180, "1 to 180")
        _expect("pitch_deg", self.pitch_deg, -90 <= self.pitch_deg <= 90, "-90 to 90 degrees")
        _expect_camera(self.fov_deg, self.size)

    def expect_kind(self, output: Output) -> None:
        expect_panoramas(output, self.name)

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        path, frame = panorama_of(item), f"{item.frame} " if item.frame else ""
        size = (self.size, self.size)
        yaws_deg = [360 * number / self.views for number in range(self.views)]
        return [
            (f"{frame}yaw{yaw_deg:03.0f}", PanoramaView(path, yaw_deg, self.pitch_deg, self.fov_deg, size))
            for yaw_deg in yaws_deg
        ]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return lossy_note(items)


@dataclass(frozen=True, kw_only=True)
class FlatPanoramaProtocol(Protocol):
    """The flat equirectangular picture itself. width: pixels that every panorama is brought to."""

    width: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = 64 <= self.width <= _LARGEST_PX and self.width % 2 == 0
        _expect("width", self.width, fits, f"an even number, 64 to {_LARGEST_PX}")

    def expect_kind(self, output: Output) -> None:
        expect_panoramas(output, self.name)

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(f"{item.frame} flat".strip(), FlatPanorama(panorama_of(item), self.width))]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return lossy_note(items)


@dataclass(frozen=True, kw_only=True)
class WorldProtocol(Protocol):
    """Renders of a world from inside the cube, by our renderer; of methods that leave only frames, the frames.

    paths, views_per_path: seeded closed paths, and looks along each; corners: also one look from each of the cube's
    eight corners; side_m: of the cube round the origin; fov_deg: horizontal = vertical; size: pixels of a view's side.
    """

    paths: int = 4
    views_per_path: int = 4
    corners: bool = True
    side_m: float = 2.0
    fov_deg: float = 90.0
    size: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect("paths", self.paths, 0 <= self.paths <= 100, "0 to 100")
        _expect("views_per_path", self.views_per_path, 1 <= self.views_per_path <= 1000, "1 to 1000")
        _expect("corners", self.corners, bool(self.paths or self.corners), "true where paths is 0")
        _expect("side_m", self.side_m, 0 < self.side_m <= 100, "more than 0, at most 100 m")
        _expect("seed", self.seed, self.seed >= 0, "a whole number from 0")
        _expect_camera(self.fov_deg, self.size)

    def expect_kind(self, output: Output) -> None:
        _expect_kind(
            output, ("splats", "runs", "frames", "images"), self.name, "splats, runs or frames (a subfolder per scene)"
        )

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        if item.run is None and item.path.suffix.lower() not in SPLAT_FILES:
            return [(item.frame or WHOLE_PICTURE, ImageFile(item.path))]
        path = item.run.splats if item.run else item.path
        if path is None:
            raise UserError(item.run.why_without("splat"))
        places = [
            place
            for number in range(self.paths)
            for place in path_places(number, self.views_per_path, self.side_m, self.seed)
        ]
        places += corner_places(self.side_m, self.seed) if self.corners else []
        size = (self.size, self.size)
        return [(place.name, SplatView(path, pose_of(place.c2w), self.fov_deg, size, item.world)) for place in places]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        frames = [item for item in items if item.run is None and item.path.suffix.lower() not in SPLAT_FILES]
        others = sum(item.size != (self.size, self.size) for item in frames)
        notes = [*size_note(frames), *lossy_note(frames)]
        if others:
            notes.append(
                f"{others} of {len(frames)} frames are not {self.size}x{self.size} as the protocol's views are"
            )
        if any(not item.frame for item in frames):
            notes.append("frames without subfolders: each counts as a scene of its own, which narrows the intervals")
        return tuple(notes)


@dataclass(frozen=True, kw_only=True)
class ConditioningProtocol(Protocol):
    """Views beside their true ones. truth: the folder of true views; None = <path>/true, beside <path>/pred."""

    truth: str | None = None

    def examine(self, method: str, path: str | Path) -> Output:
        return examine_pairs(method, path, self.truth)

    def expect_kind(self, output: Output) -> None:
        _expect_kind(output, ("images", "panoramas", "frames"), self.name, "pictures")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(item.frame or WHOLE_PICTURE, ImageFile(item.path))]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return (*size_note(items), *lossy_note(items))


@dataclass(frozen=True, kw_only=True)
class HeldOutProtocol(Protocol):
    """The held-out views of our fits, beside the true ones. A run's image is its scene, with the seed where there are
    several; a run of which one view cannot be compared fails whole: its mean would be one over other views."""

    def expect_kind(self, output: Output) -> None:
        _expect_kind(output, ("runs",), self.name, "run folders of python -m train.splat")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(view.image, ImageFile(view.path)) for view in self._pairs(item).items]

    def truth_of(self, item: Item, look: Source) -> Source:
        assert isinstance(look, ImageFile)
        return ImageFile(look.path.parent.parent / TRUE / look.path.name)

    def _pairs(self, item: Item) -> Output:
        assert item.run
        if "splat" not in item.run.finished:
            raise UserError(item.run.why_without("splat"))
        folder = item.path / "splat" / HELD_OUT_DIR
        if not folder.is_dir():
            raise UserError(f"no splat/{HELD_OUT_DIR}: its scene holds no views out")
        pairs = paired(*(examine(item.label, folder / name) for name in (PREDICTED, TRUE)))
        for name, why in pairs.failed.items():
            raise UserError(f"splat/{HELD_OUT_DIR}: {name}: {why}")
        return pairs


@dataclass(frozen=True, kw_only=True)
class ImagesProtocol(Protocol):
    """Pictures as they stand in their files."""

    def expect_kind(self, output: Output) -> None:
        _expect_kind(output, ("images", "panoramas", "frames"), self.name, "pictures")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(item.frame or WHOLE_PICTURE, ImageFile(item.path))]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return size_note(items)


def panorama_of(item: Item) -> Path:
    """The file of an item's panorama. Raises UserError where it has none."""
    if item.run:
        if item.run.panorama is None:
            raise UserError(item.run.why_without("panorama"))
        return item.run.panorama
    if not is_panorama(item):
        width, height = item.size or (0, 0)
        raise UserError(f"{item.path}: {width}x{height} pixels, wanted a panorama twice as wide as high")
    return item.path


def _companions(item: Item, photos: Mapping[str, Path]) -> dict[str, Any]:
    """What a picture may be compared with, by the names of Picture's fields."""
    given = photos.get(photo_name(item))
    photo = ImageFile(given) if given else item.run.photo() if item.run else None
    return {"photo": photo, "text": item.run.prompt if item.run else None}


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


def expect_panoramas(output: Output, protocol: str) -> None:
    """Raises UserError for what cannot be panoramas."""
    _expect_kind(output, ("panoramas", "images", "frames", "runs"), protocol, "panoramas")


def _expect_kind(output: Output, kinds: Sequence[Kind], protocol: str, wanted: str) -> None:
    if output.kind not in kinds:
        raise UserError(
            f"methods.{output.method}: {output.path} holds {output.kind}, wanted {wanted} for protocol={protocol}"
        )


def _expect(key: str, found: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise UserError(f"protocol.{key}: {found}, wanted {wanted}")


def _expect_camera(fov_deg: float, size: int) -> None:
    _expect("fov_deg", fov_deg, 10 <= fov_deg <= 150, "10 to 150 degrees")
    _expect("size", size, 16 <= size <= _LARGEST_PX, f"16 to {_LARGEST_PX} pixels")

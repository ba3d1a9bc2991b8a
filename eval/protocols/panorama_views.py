"""Protocols of panoramas: perspective views all round the horizon, or the flat picture itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.protocols.base import LARGEST_PX, Protocol, expect_camera, expect_kind_of
from eval.protocols.outputs import Item, Output, is_panorama, lossy_note
from eval.protocols.picture_sources import FlatPanorama, PanoramaView
from eval.protocols.pictures import Source
from worldgen.errors import UserError, expect


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
        expect("protocol.views", self.views, 1 <= self.views <= 180, "1 to 180")
        expect("protocol.pitch_deg", self.pitch_deg, -90 <= self.pitch_deg <= 90, "-90 to 90 degrees")
        expect_camera(self.fov_deg, self.size)

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
        fits = 64 <= self.width <= LARGEST_PX and self.width % 2 == 0
        expect("protocol.width", self.width, fits, f"an even number, 64 to {LARGEST_PX}")

    def expect_kind(self, output: Output) -> None:
        expect_panoramas(output, self.name)

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(f"{item.frame} flat".strip(), FlatPanorama(panorama_of(item), self.width))]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return lossy_note(items)


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


def expect_panoramas(output: Output, protocol: str) -> None:
    """Raises UserError for what cannot be panoramas."""
    expect_kind_of(output, ("panoramas", "images", "frames", "runs"), protocol, "panoramas")

"""The protocol of worlds: renders from inside the cube that the recipe completes."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.protocols.base import WHOLE_PICTURE, Protocol, expect_camera, expect_kind_of
from eval.protocols.file_names import SPLAT_FILES
from eval.protocols.outputs import Item, Output, lossy_note, size_note
from eval.protocols.picture_sources import ImageFile, SplatView, pose_of
from eval.protocols.pictures import Source
from eval.protocols.trajectories import corner_places, path_places
from worldgen.errors import UserError, expect


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
        expect("protocol.paths", self.paths, 0 <= self.paths <= 100, "0 to 100")
        expect("protocol.views_per_path", self.views_per_path, 1 <= self.views_per_path <= 1000, "1 to 1000")
        expect("protocol.corners", self.corners, bool(self.paths or self.corners), "true where paths is 0")
        expect("protocol.side_m", self.side_m, 0 < self.side_m <= 100, "more than 0, at most 100 m")
        expect("protocol.seed", self.seed, self.seed >= 0, "a whole number from 0")
        expect_camera(self.fov_deg, self.size)

    def expect_kind(self, output: Output) -> None:
        expect_kind_of(
            output, ("splats", "runs", "frames", "images"), self.name, "splats, runs or frames (a subfolder per scene)"
        )

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        if item.run is None and item.path.suffix.lower() not in SPLAT_FILES:
            return [(item.frame or WHOLE_PICTURE, ImageFile(item.path))]
        if item.run and item.run.splats is None:
            raise UserError(item.run.why_without("splat"))
        path = item.run.splats if item.run and item.run.splats else item.path
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

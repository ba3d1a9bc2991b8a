"""The one reader of run folders: it alone knows where the steps' files lie, and what of them may be missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.io.clouds import load_cloud
from worldgen.io.gaussians import load_gaussians
from worldgen.runs import artifacts
from worldgen.runs.layout import LAYOUT, MANIFEST, layout_of
from worldgen.runs.record import hash_of, load_record, look
from worldgen.runs.steps_table import COMPLETE, DEPTH, EXPORT, FOV, LIFT, PANORAMA, PROMPTS, REFINE, SPLAT
from worldgen.runs.visits import CLOUD
from worldgen.types import Camera, CompletedView, DistanceMap, Gaussians, Panorama, PointCloud, Prompts

CAMERA = "camera.json"


class RunReader:
    """What the steps left in the run folder `root`, read whenever it is asked for.

    Every method raises UserError, naming the file, where that is not there or does not hold what a step leaves. Folders
    of an earlier layout are read, too, but for the photo's camera, which they do not tell.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, step: str, filename: str = "") -> Path:
        """Where a step's file is, or would be; without a filename the step's folder."""
        return self.root / step / filename

    def existing(self, step: str, filename: str) -> Path:
        """Where a step's file is. Raises UserError where there is none."""
        path = self.path(step, filename)
        if not path.is_file():
            raise UserError(f"{path}: not found, wanted a finished run; run the same command again to finish it")
        return path

    @property
    def manifest_path(self) -> Path:
        """Of the file that tells how each step was made."""
        return self.root / MANIFEST

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says of the photo, the steps and the edits. Raises UserError where a run wrote none."""
        path = self.manifest_path
        if not path.is_file():
            raise UserError(f"{path}: not found, wanted a run folder as `python -m worldgen` makes it")
        try:
            manifest = artifacts.load_json(path)
        except UserError as error:
            raise UserError(f"{error}; run the recipe again to mend it") from error
        for key in ("photo", "steps"):
            if not isinstance(manifest.setdefault(key, {}), dict):
                raise UserError(f"{path}: {key} is no object, wanted the manifest of a run folder")
        return manifest

    def record(self, step: str) -> Mapping[str, Any] | None:
        """What the manifest says of a finished step, see `record.StepRecord`; None where it never finished."""
        found = self.manifest()["steps"].get(step)
        return found if isinstance(found, dict) else None

    def content(self, steps: Sequence[str]) -> str:
        """A hash of all files that these steps left, as they are now."""
        return hash_of([look(self.path(step), load_record(self.path(step)).files).sha256 for step in steps])

    def camera(self) -> Camera:
        """The photo's, at the origin, looking along +z, with the photo's pixels as they were used; of a given panorama
        that of its front view."""
        path = self.path(FOV, CAMERA)
        if not path.is_file() and layout_of(self.manifest()) not in (None, LAYOUT):
            raise UserError(f"{path}: not found, made by an earlier version of worldgen, wanted a run of this one")
        return artifacts.load_photo_camera(self.existing(FOV, CAMERA))

    def has_camera(self) -> bool:
        """Whether the photo's camera is known: from the first step on, but not in folders of an earlier layout."""
        return self.path(FOV, CAMERA).is_file()

    def prompts(self) -> Prompts:
        """What the scene was said to be."""
        return artifacts.load_prompts(self.path(PROMPTS, "prompts.json"))

    def panorama_path(self) -> Path:
        """Of the panorama, refined if it was."""
        refined = self.path(REFINE, "panorama.png")
        return refined if refined.is_file() else self.existing(PANORAMA, "panorama.png")

    def panorama(self) -> Panorama:
        """The panorama, refined if it was, and where the photo's own pixels lie."""
        return artifacts.load_panorama(self.panorama_path(), self.existing(PANORAMA, "photo_mask.png"))

    def unrefined_panorama(self) -> Panorama:
        """The panorama as it was synthesised."""
        mask = self.existing(PANORAMA, "photo_mask.png")
        return artifacts.load_panorama(self.existing(PANORAMA, "panorama.png"), mask)

    def distances(self) -> DistanceMap:
        """Distances along the rays of the panorama, metres."""
        return artifacts.load_distances(self.existing(DEPTH, "distance.npy").parent)

    def lifted(self) -> PointCloud:
        """The points that the panorama shows."""
        return load_cloud(self.existing(LIFT, "cloud.safetensors"))

    def cloud(self) -> PointCloud:
        """What the panorama shows and what the completed views added."""
        return self.lifted() + load_cloud(self.existing(COMPLETE, CLOUD))

    def completed(self) -> Sequence[CompletedView]:
        """The completed views in the order of their making, read one by one as they are asked for, without distances:
        those live in the cloud."""
        return artifacts.CompletedViews(self.path(COMPLETE))

    def gaussians_path(self) -> Path:
        """Of the finished splats."""
        return self.existing(SPLAT, "gaussians.safetensors")

    def gaussians(self) -> Gaussians:
        """The finished splats."""
        return load_gaussians(self.gaussians_path())

    def page_path(self) -> Path:
        """Of the page that shows the world."""
        return self.existing(EXPORT, "world.html")

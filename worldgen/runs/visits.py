"""Completion as it lands in its step's folder: each visit's points and picture when it is made, the whole at the end.

While views are completed there is a file for each visit, `visits/NNN.safetensors`. It is written after the picture, and
knows its camera. In the end their points are one cloud, their cameras one JSON, and these files go.
"""

import json
import shutil
from pathlib import Path

from worldgen.io.clouds import load_cloud, save_cloud
from worldgen.io.tensor_files import metadata_of
from worldgen.runs.artifacts import (
    camera_from_dict,
    camera_to_dict,
    load_completed_view,
    save_completed_cameras,
    save_completed_view,
)
from worldgen.runs.disk import landing
from worldgen.types import Camera, PointCloud, Visit

CLOUD = "cloud.safetensors"


class KeptVisits:
    """The visits of one completion, in the folder of its step."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._visits = folder, folder / "visits"
        self._visits.mkdir(exist_ok=True)
        self._cameras: dict[int, Camera | None] = {}  # by the visits' numbers; None of those without a picture

    def recall(self, number: int) -> Visit | None:
        """See `recipe.complete.Visits`."""
        path = self._path(number)
        if not path.is_file():
            return None
        told = json.loads(metadata_of(path)["visit"])
        camera = camera_from_dict(told["camera"]) if told["camera"] else None
        completed = load_completed_view(self._folder, self._pictures(number), camera) if camera else None
        self._cameras[number] = camera
        return Visit(load_cloud(path), completed, told["unmeasured"])

    def keep(self, number: int, visit: Visit) -> None:
        """See `recipe.complete.Visits`."""
        camera = None
        if visit.completed is not None:
            save_completed_view(self._folder, self._pictures(number), visit.completed)
            camera = visit.completed.view.camera
        told = {"camera": camera_to_dict(camera) if camera else None, "unmeasured": visit.unmeasured}
        with landing(self._path(number)) as unfinished:
            save_cloud(unfinished, visit.points, {"visit": json.dumps(told)})
        self._cameras[number] = camera

    def finish(self) -> None:
        """Makes one of all: `cloud.safetensors`, all points in the order of the visits, and `cameras.json`."""
        clouds = [load_cloud(self._path(number)) for number in self._cameras]
        with landing(self._folder / CLOUD) as unfinished:
            save_cloud(unfinished, PointCloud.joined([PointCloud.empty(), *clouds]))
        save_completed_cameras(self._folder, [camera for camera in self._cameras.values() if camera])
        shutil.rmtree(self._visits)

    def _pictures(self, number: int) -> int:
        """How many visits before this one left a picture: the number of its own."""
        return sum(self._cameras[earlier] is not None for earlier in range(number))

    def _path(self, number: int) -> Path:
        return self._visits / f"{number:03}.safetensors"

"""Networks that know a room's depth but for a scale, and scenes of that room without depth, as DL3DV packs them."""

import json
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from tests.posed_folders import OPENGL, ROOM, colmap_model, lens, wall_points, write_pictures, write_text_ply
from tests.scenes import texture
from train.data.depths import main
from train.data.metric_depth import MetricDepth
from worldgen.geometry.cameras import distance_to_zdepth, look_at
from worldgen.models.protocols import Adapter
from worldgen.models.runtime import Runtime
from worldgen.types import Camera, ViewDepth

SIZE = (96, 72)
UNIT = 2.5  # of the poses, per metre


class KnowsTheRoom(Adapter):
    """The true zdepth of every view, in metres, but for a factor of each view's own, up to `wrong`, and a shift of the
    inverse depth; not valid in the top two rows. It counts the views, and ends the process at the `dies_at`-th."""

    def __init__(self, wrong: float = 1.0, shift: float = 0.0, dies_at: int = 0) -> None:
        self.wrong, self.shift, self.dies_at, self.asked = wrong, shift, dies_at, 0

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        self.asked += 1
        if self.asked == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        factor = self.wrong ** (float(rgb.mean() * 1000) % 2 - 1)
        zdepth = factor / (1 / true_zdepth(camera) + self.shift)
        valid = torch.ones_like(zdepth, dtype=torch.bool)
        valid[:2] = False
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)


def run(network: Any, *arguments: str) -> int:
    """`python -m train.data.depths` with this network for the one that its config names; its exit status."""
    estimator = MetricDepth(network, None, Runtime(device="cpu"))
    with patch("train.data.depths.chosen_depth", lambda config: estimator):
        return main(["data=dl3dv", "size=72", *arguments])


def true_zdepth(camera: Camera) -> Tensor:
    """[H, W] in metres of a camera whose pose is in UNIT per metre."""
    c2w = camera.c2w.float().clone()
    c2w[:3, 3] /= UNIT
    metric = Camera(c2w, camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    return distance_to_zdepth(metric, ROOM.view(metric).measured)


def views(count: int = 8) -> dict[str, Camera]:
    """In metres, a walk of small steps."""
    places = [torch.tensor([0.2 * n - 0.7, 0.05 * n, 0.1 * n]) for n in range(count)]
    return {f"frame_{n:05}.png": Camera.from_fov(*SIZE, 75.0, look_at(12.0 * n, 0.0, places[n])) for n in range(count)}


def in_unit(camera: Camera) -> Camera:
    """Of metres, in the poses' unit."""
    c2w = camera.c2w.clone()
    c2w[:3, 3] *= UNIT
    return Camera(c2w, camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)


def write_scene(scene: Path, points: bool = True, zipped: bool = False, **more: object) -> Path:
    """As DL3DV is distributed; points: with a `sparse_pc.ply` in the poses' unit. Returns what to read."""
    write_pictures(scene / "images_4", views())
    posed = {name: in_unit(camera) for name, camera in views().items()}
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": (c.c2w @ OPENGL).tolist()} for name, c in posed.items()
    ]
    large = lens(next(iter(posed.values()))) | {"w": SIZE[0], "h": SIZE[1]}
    content: dict = {"camera_model": "OPENCV", "frames": frames} | {key: 4 * value for key, value in large.items()}
    if points:
        metres = wall_points(1500)
        write_text_ply(scene / "sparse_pc.ply", UNIT * metres, texture(metres))
        content["ply_file_path"] = "sparse_pc.ply"
    (scene / "transforms.json").write_text(json.dumps(content | more))
    if not zipped:
        return scene
    path = scene.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(scene.rglob("*")):
            file.write(one, one.relative_to(scene.parent))
    shutil.rmtree(scene)
    return path


def write_model_beside(scene: Path, scale: float = 0.3) -> None:
    """A COLMAP model of the same pictures, turned, moved, in a unit of its own, and with points."""
    turn = look_at(70.0, 20.0)[:3, :3]
    moved = {}
    for name, camera in views().items():
        c2w = camera.c2w.clone()
        c2w[:3, :3] = turn @ c2w[:3, :3]
        c2w[:3, 3] = scale * turn @ c2w[:3, 3] + torch.tensor([3.0, -1.0, 2.0])
        moved[name] = Camera(c2w, camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    model = colmap_model(moved)
    from pycolmap import Track

    for xyz in wall_points(1500):
        place = scale * turn @ xyz + torch.tensor([3.0, -1.0, 2.0])
        model.add_point3D(place.double().numpy(), Track(), torch.zeros(3, dtype=torch.uint8).numpy())
    (scene / "colmap/sparse/0").mkdir(parents=True)
    model.write_binary(str(scene / "colmap/sparse/0"))


if __name__ == "__main__":
    sys.exit(run(KnowsTheRoom(3.0, dies_at=int(sys.argv[1])), *sys.argv[2:]))

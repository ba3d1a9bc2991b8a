"""Folders of posed pictures as other tools write them, of a room of which everything is known."""

import json
import math
from pathlib import Path

import numpy as np
import pycolmap
import torch
import torch.nn.functional as F

from tests.scenes import BoxRoom, texture
from worldgen.geometry.cameras import look_at, project
from worldgen.runs import artifacts
from worldgen.types import Camera, SupervisionView

ROOM = BoxRoom(pillars=())  # convex: every camera sees every point in its picture
SIZE = (128, 96)
OPENGL = torch.diag(torch.tensor([1.0, -1, -1, 1]))


def cameras() -> dict[str, Camera]:
    """Six, their principal points off the middle, none upright."""
    found = {}
    for index in range(6):
        c2w = look_at(60.0 * index, 25 - 10 * index, torch.tensor([0.3 * index - 0.7, 0.1 * index, 0.4 - 0.2 * index]))
        roll = math.radians(20 * index)
        c2w[:3, :3] @= torch.tensor(
            [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
        )
        found[f"view_{index}.png"] = Camera(c2w, *SIZE, 90.0, 90.0, 60.0, 51.0)
    return found


def centred() -> dict[str, Camera]:
    return {name: Camera(one.c2w, *SIZE, 80.0, 80.0, 64.0, 48.0) for name, one in cameras().items()}


def wall_points(count: int = 300) -> torch.Tensor:
    """[count, 3], on the walls."""
    rays = F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    return rays * ROOM.trace(torch.zeros(3), rays)[1][:, None]


def write_pictures(folder: Path, views: dict[str, Camera]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, camera in views.items():
        artifacts.save_image(folder / name, ROOM.view(camera).rgb)


def frame(path: str, camera: Camera, **more: object) -> dict:
    return {"file_path": path, "transform_matrix": (camera.c2w @ OPENGL).tolist()} | more


def lens(camera: Camera) -> dict:
    return {"w": SIZE[0], "h": SIZE[1], "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}


def write_transforms(
    folder: Path, views: dict[str, Camera] | None = None, shared: dict | None = None, **more: object
) -> Path:
    """Pictures of the room, a transforms.json and a text .ply beside.

    views: `cameras()` if None, {} = no pictures are written; shared: what the file says of all frames, None = the lens.
    """
    views = cameras() if views is None else views
    write_pictures(folder / "images", views)
    write_text_ply(folder / "sparse_pc.ply", wall_points())
    shared = lens(views["view_0.png"]) | {"camera_model": "OPENCV"} if shared is None else shared
    frames = [frame(f"./images/{name}", camera) for name, camera in views.items()]
    content = {"ply_file_path": "sparse_pc.ply", "frames": frames} | shared | more
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def write_per_frame(folder: Path) -> Path:
    frames = [frame(f"images/{name}", camera, **lens(camera)) for name, camera in cameras().items()]
    return write_transforms(folder, shared={}, frames=frames)


def write_blender(folder: Path) -> Path:
    """Only an angle, no size, names without suffix, a file for each part of the split."""
    views = centred()
    write_pictures(folder / "train", views)
    content = {"camera_angle_x": 2 * math.atan(SIZE[0] / 2 / 80.0)}
    frames = [frame(f"./train/{Path(name).stem}", camera) for name, camera in views.items()]
    (folder / "transforms_train.json").write_text(json.dumps(content | {"frames": frames[:4]}))
    (folder / "transforms_test.json").write_text(json.dumps(content | {"frames": frames[4:]}))
    return folder


def write_text_ply(path: Path, xyz: torch.Tensor, rgb: torch.Tensor | None = None) -> None:
    kinds = ["float x", "float y", "float z", "uint8 red", "uint8 green", "uint8 blue"]
    head = ["ply", "format ascii 1.0", f"element vertex {len(xyz)}", *(f"property {kind}" for kind in kinds)]
    colours = ((texture(xyz) if rgb is None else rgb) * 255).round().int().tolist()
    rows = [" ".join(map(str, [*place, *rgb])) for place, rgb in zip(xyz.tolist(), colours, strict=True)]
    path.write_text("\n".join([*head, "end_header", *rows]) + "\n")


def write_colmap(folder: Path, place: str = "sparse/0", binary: bool = True, model: str = "PINHOLE") -> Path:
    """Pictures of the room and what `colmap_model` says of them, with points on the walls."""
    views = cameras() if model != "SIMPLE_PINHOLE" else centred()
    write_pictures(folder / "images", views)
    made = colmap_model(views, model)
    for xyz in wall_points():
        colour = (texture(xyz) * 255).round().to(torch.uint8).numpy()
        made.add_point3D(xyz.double().numpy(), pycolmap.Track(), colour)
    (folder / place).mkdir(parents=True, exist_ok=True)
    (made.write_binary if binary else made.write_text)(str(folder / place))
    return folder


def colmap_model(views: dict[str, Camera], model: str = "PINHOLE") -> pycolmap.Reconstruction:
    """By pycolmap itself: one camera, number 3, and the views' poses; every other view has seen no points."""
    one = next(iter(views.values()))
    numbers = [one.fx, one.cx, one.cy] if model == "SIMPLE_PINHOLE" else [one.fx, one.fy, one.cx, one.cy]
    numbers += [0.0] * 4 if model == "OPENCV" else [0.1] * 4 if model == "OPENCV_FISHEYE" else []
    made = pycolmap.Reconstruction()
    made.add_camera_with_trivial_rig(
        pycolmap.Camera(camera_id=3, model=model, width=one.width, height=one.height, params=numbers)
    )
    for number, (name, camera) in enumerate(views.items(), start=1):
        pose = pycolmap.Rigid3d(camera.w2c[:3].double().numpy())
        seen = np.zeros((2 * (number % 2), 2))
        image = pycolmap.Image(name=name, camera_id=3, image_id=number, keypoints=seen)
        made.add_image_with_trivial_frame(image, pose)
    return made


def colour_error(view: SupervisionView, xyz: torch.Tensor) -> torch.Tensor:
    """Of the pixels that the wall's points, at xyz in the view's frame, land on, against their own colours; [points in
    the picture, where it counts]."""
    pixels, zdepth = project(view.camera, xyz)
    size = torch.tensor([view.camera.width, view.camera.height])
    inside = (zdepth > 0) & (pixels > 1).all(dim=1) & (pixels < size - 1).all(dim=1)
    column, row = pixels[inside].long().unbind(-1)
    inside[inside.clone()] = view.weight[row, column] > 0.5
    assert inside.sum() > 5
    grid = (pixels[inside] / size * 2 - 1)[None, None]
    seen = F.grid_sample(view.rgb[None], grid, align_corners=False)[0, :, 0].T
    return (seen - texture(wall_points()[inside])).abs().amax(dim=1)

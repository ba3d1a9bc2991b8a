"""Worlds of any unit, anywhere: their fits are twins, and their files are theirs again."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from tests.posed_folders import SIZE, cameras, frame, lens, wall_points, write_pictures
from tests.scenes import texture
from train.data.posed import FolderScene
from train.splat import cli
from train.splat.export import export_world, files_of
from worldgen.geometry.world_frame import camera_into, frame_of, gaussians_out_of, points_into
from worldgen.io.gaussians import read_ply
from worldgen.types import Gaussians, Scene, WorldFrame

WORLDS = {
    "as it is": (1.0, (0.0, 0.0, 0.0)),
    "thousandths": (1e-3, (0.0, 0.0, 0.0)),
    "thousands": (1e3, (0.0, 0.0, 0.0)),
    "on a map": (1.0, (500_000.0, 4_500_000.0, 120.0)),
    "far and small": (1e-3, (-7e3, 2e3, 9e3)),
}


def write_world(folder: Path, scale: float, offset: tuple[float, float, float]) -> Path:
    """The room's pictures, its poses and points (double) in another world."""
    write_pictures(folder / "images", cameras())
    listed = []
    for name, camera in cameras().items():
        one = frame(f"images/{name}", camera)
        pose = np.array(one["transform_matrix"], np.float64)
        pose[:3, 3] = pose[:3, 3] * scale + offset
        listed.append(one | {"transform_matrix": pose.tolist()})
    xyz = wall_points().double().numpy() * scale + offset
    rgb = (texture(wall_points()) * 255).round().numpy()
    kinds = [*((name, "f8") for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))]
    vertices = np.array([tuple(row) for row in np.concatenate([xyz, rgb], axis=1)], kinds)
    PlyData([PlyElement.describe(vertices, "vertex")]).write(folder / "points.ply")
    content = lens(cameras()["view_0.png"]) | {"frames": listed, "ply_file_path": "points.ply"}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def in_world(name: str, folder: Path) -> Scene:
    return FolderScene(write_world(folder, *WORLDS[name]), held_out_every=0)()


@pytest.mark.parametrize("name", WORLDS)
def test_a_scene_is_fitted_as_its_twin_is(tmp_path, name):
    """All that a fit sees of it is equal, but for the last digits of float64."""
    twin, scene = in_world("as it is", tmp_path / "twin"), in_world(name, tmp_path / "scene")
    assert torch.allclose(scene.cloud.xyz, twin.cloud.xyz, atol=2e-6)
    assert torch.allclose(scene.cloud.spacing, twin.cloud.spacing, atol=2e-6)
    assert torch.equal(scene.cloud.rgb, twin.cloud.rgb)
    for one, other in zip(scene.views, twin.views, strict=True):
        assert one.camera.c2w.dtype == torch.float32
        assert torch.allclose(one.camera.c2w, other.camera.c2w, atol=2e-6)
        assert torch.equal(one.rgb, other.rgb)
    scale, offset = WORLDS[name]
    assert scene.frame.scale == pytest.approx(twin.frame.scale * scale, rel=1e-6)
    expected = [scale * here + there for here, there in zip(twin.frame.offset, offset, strict=True)]
    assert scene.frame.offset == pytest.approx(expected, rel=1e-12, abs=1e-9 * scale)
    places = torch.stack([view.camera.position for view in scene.views])
    assert 0.3 < places.norm(dim=1).median() < 3


def test_the_unit_is_told_by_cameras_points_or_nothing():
    spread = torch.tensor([[0.0, 0, 0], [4, 0, 0], [0, 4, 0], [4, 4, 0]], dtype=torch.float64)
    assert frame_of(spread) == WorldFrame((2.0, 2.0, 0.0), pytest.approx(math.sqrt(8)))
    stray = torch.cat([spread, torch.tensor([[1e7, 0, 0]], dtype=torch.float64)])
    assert frame_of(stray).scale < 10
    tripod = torch.full((5, 3), 4e6, dtype=torch.float64)
    assert frame_of(tripod).scale == 1
    ball = tripod[:1] + 30 * torch.nn.functional.normalize(torch.randn(99, 3, dtype=torch.float64), dim=1)
    assert frame_of(tripod, ball).scale == pytest.approx(3)
    assert frame_of(spread, ball - 4e6).scale == pytest.approx(3, rel=0.1)


def some_gaussians() -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    means, scales, quats = (torch.randn(50, width, generator=generator) for width in (3, 3, 4))
    return Gaussians(means, quats, scales - 4, torch.zeros(50), torch.zeros(50, 1, 3))


@pytest.mark.parametrize("name", WORLDS)
def test_gaussians_come_back_to_where_the_points_were(name):
    scale, offset = WORLDS[name]
    where = WorldFrame(offset, scale)
    gaussians = some_gaussians()
    back = gaussians_out_of(where, gaussians)
    expected = gaussians.means.double() * scale + torch.tensor(offset, dtype=torch.float64)
    assert torch.allclose(back.means.double(), expected, rtol=1e-6, atol=1e-7 * scale)
    assert torch.allclose(back.log_scales.exp(), gaussians.log_scales.exp() * scale, rtol=1e-5)
    assert torch.equal(back.quats, gaussians.quats)
    assert torch.allclose(points_into(where, expected), gaussians.means, atol=1e-5)
    camera = cameras()["view_1.png"]
    turned = camera_into(where, type(camera)(camera.c2w.double(), *SIZE, 90.0, 90.0, 60.0, 51.0))
    assert torch.equal(turned.c2w[:3, :3], camera.c2w[:3, :3])


@pytest.mark.parametrize("name", WORLDS)
def test_files_with_what_world_json_says_are_in_the_poses_world(tmp_path, caplog, name):
    scale, offset = WORLDS[name]
    gaussians, where = some_gaussians(), WorldFrame(offset, 2 * scale)
    export_world(gaussians, where, tmp_path, "room")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files_of(where))
    told = json.loads((tmp_path / "world.json").read_text())
    expected = gaussians.means.double() * 2 * scale + torch.tensor(offset, dtype=torch.float64)
    for file, means in (("world.ply", read_ply(tmp_path / "world.ply").means), ("world.spz", spz_means(tmp_path))):
        left = told[file]
        found = means.double() * left["scale"] + torch.tensor(left["offset"], dtype=torch.float64)
        assert (found - expected).abs().max() < (2e-4 if file == "world.ply" else 2e-3) * scale
        moved = left != {"offset": [0.0, 0.0, 0.0], "scale": 1.0}
        assert (f"{file}: cannot hold the poses' coordinates" in caplog.text) is moved
    assert told["splat/gaussians.safetensors"] == {"offset": list(offset), "scale": 2 * scale}
    assert (told["world.ply"]["scale"], told["world.ply"]["offset"] == [0.0, 0.0, 0.0]) == (
        1.0,
        "far" not in name and "map" not in name,
    )


def spz_means(folder: Path) -> torch.Tensor:
    import gsply

    return torch.from_numpy(np.array(gsply.read_spz(folder / "world.spz").means))


def test_what_was_never_moved_is_exported_as_it_is(tmp_path):
    export_world(some_gaussians(), WorldFrame(), tmp_path, "room")
    assert not (tmp_path / "world.json").exists()
    assert torch.equal(read_ply(tmp_path / "world.ply").means, some_gaussians().means)


def test_a_run_of_another_world_keeps_its_fit_and_exports_again(tmp_path, capsys):
    """The same pictures in another unit: nothing is left to fit, but the files are others."""
    arguments = ["splat.steps=3", "density=none", "splat.logger=none", "quiet=true", f"out={tmp_path / 'run'}"]
    found = []
    for scale in (2.0**10, 2.0**-10):  # exact, so that the scenes are equal to the last bit
        folder = write_world(tmp_path / "room", scale, (0.0, 0.0, 0.0))
        cli._made.cache_clear()
        assert cli.main([*arguments, f"views={folder}"]) == 0
        found.append(read_ply(tmp_path / "run" / "world.ply").means)
        assert json.loads((tmp_path / "run" / "world.json").read_text())["world.ply"]["scale"] == 1.0
    assert torch.allclose(found[0] / 2.0**10, found[1] * 2.0**10, rtol=1e-5, atol=1e-6)
    runs = [json.loads(line)["seconds"] for line in capsys.readouterr().out.splitlines()]
    assert runs[0] == runs[1]  # the first fit's own: it was kept

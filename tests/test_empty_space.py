"""Pictures with transparent backgrounds, as Blender's synthetic scenes have them: what is empty stays empty."""

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.small_training import Psnr
from train.data.posed import FolderScene
from train.splat.optimizer import SplatOptimizer
from worldgen.geometry.cameras import look_at, world_rays
from worldgen.splat.density import DensitySettings
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera

SIZE, RADIUS, DISTANCE = 64, 0.6, 3.0


def camera(yaw_deg: float, pitch_deg: float) -> Camera:
    """From 3 away, at the ball in the middle."""
    c2w = look_at(yaw_deg, pitch_deg)
    c2w[:3, 3] = -DISTANCE * c2w[:3, 2]
    return Camera.from_fov(SIZE, SIZE, 40.0, c2w)


def ball(view: Camera) -> torch.Tensor:
    """[H, W, 4] in [0, 1], straight alpha: a coloured ball, and nothing round it."""
    rays, origin = world_rays(view), view.position
    along = -(rays @ origin)
    gap = along.square() - origin.square().sum() + RADIUS**2
    place = origin + rays * (along - gap.clamp(min=0).sqrt())[..., None]
    rgb = 0.5 + 0.45 * torch.sin(place * 4)
    return torch.cat([rgb, (gap > 0).float()[..., None]], dim=-1)


def write_blender(folder: Path) -> Path:
    """Six views to fit all round and two to test, without points; empty pixels are black, as Blender writes them."""
    parts = {
        "train": [(60.0 * number, 20.0 * (-1) ** number) for number in range(6)],
        "test": [(30.0, 0.0), (170.0, 30.0)],
    }
    for part, angles in parts.items():
        (folder / part).mkdir(parents=True)
        frames = []
        for number, angle in enumerate(angles):
            view = camera(*angle)
            pixels = ball(view)
            pixels[..., :3] *= pixels[..., 3:]
            Image.fromarray((pixels * 255).round().to(torch.uint8).numpy()).save(folder / part / f"r_{number}.png")
            c2w = view.c2w.clone()
            c2w[:, 1:3] *= -1
            frames.append({"file_path": f"./{part}/r_{number}", "transform_matrix": c2w.tolist()})
        content = {"camera_angle_x": math.radians(40), "frames": frames}
        (folder / f"transforms_{part}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return FolderScene(write_blender(tmp_path_factory.mktemp("ball")), random_points=2000)()


def test_alpha_is_no_weight_and_test_views_lie_over_white(scene):
    assert len(scene.views) == 6
    assert len(scene.held_out) == 2
    for view in scene.views:
        assert (view.weight == 1).all()
        assert set(view.alpha.unique().tolist()) == {0.0, 1.0}
        red = torch.tensor([1.0, 0.0, 0.0])
        assert torch.allclose(view.over(red)[:, view.alpha == 0].T, red)
    for view in scene.held_out:
        assert view.known.all()
        assert (view.rgb[:, 0, 0] == 1).all()
        assert (view.background == 1).all()


def test_random_points_lie_within_the_silhouettes(scene):
    """The ball's visual hull of six views, seen from within its own frame."""
    away = (scene.cloud.xyz * scene.frame.scale + torch.tensor(scene.frame.offset)).norm(dim=1)
    assert len(scene.cloud) > 500
    assert away.median() < 1.1 * RADIUS
    assert away.max() < 2.5 * RADIUS


def test_what_is_empty_stays_empty(scene, tmp_path):
    settings = SplatOptimizer(
        steps=150, max_gaussians=2000, density=DensitySettings(enabled=False), evaluate_every=150, logger="none"
    )
    result = settings(scene, tmp_path, metrics=[Psnr()])
    for view in scene.held_out:
        empty = (view.rgb == 1).all(dim=0)
        white = rasterize(result.gaussians, view.camera, torch.ones(3))
        green = rasterize(result.gaussians, view.camera, torch.tensor([0.0, 1.0, 0.0]))
        assert white.alpha[empty].mean() < 0.03
        assert (white.rgb - 1).abs()[:, empty].mean() < 0.03
        assert (green.rgb[0] - 0.0).abs()[empty].mean() < 0.03
        assert white.alpha[~empty].mean() > 0.8
    assert result.facts["psnr"] > 20  # over white
    assert result.facts["fitted_psnr_db"] > 22


def test_no_alpha_no_background(tmp_path):
    folder = write_blender(tmp_path / "ball")
    for path in folder.glob("*/*.png"):
        with Image.open(path) as image:
            white = Image.new("RGBA", image.size, "white")
            Image.alpha_composite(white, image).convert("RGB").save(path)
    found = FolderScene(folder, random_points=100)()
    assert all(view.alpha is None for view in found.views)
    assert all(view.background is None for view in found.held_out)
    assert len(found.cloud) == 100

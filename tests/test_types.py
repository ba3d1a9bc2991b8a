"""Shapes that the types refuse, and the sums that they promise."""

import math

import pytest
import torch

from worldgen.geometry.cameras import look_at
from worldgen.types import Camera, DistanceMap, Gaussians, Panorama, PointCloud, View


def cloud(count: int) -> PointCloud:
    return PointCloud(torch.rand(count, 3), torch.rand(count, 3), torch.rand(count, 3), torch.rand(count))


def test_camera_says_its_field_of_view():
    camera = Camera.from_fov(640, 480, 80.0)
    assert camera.fov_deg == pytest.approx(80.0)
    assert camera.fx == camera.fy
    assert camera.fx * math.tan(math.radians(40)) == pytest.approx(320)


def test_world_to_camera_undoes_camera_to_world():
    camera = Camera.from_fov(8, 8, 90.0, look_at(33.0, -12.0, torch.tensor([1.0, -2.0, 3.0])))
    torch.testing.assert_close(camera.w2c @ camera.c2w, torch.eye(4), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Camera(torch.eye(3), 4, 4, 1.0, 1.0, 2.0, 2.0), "Camera.c2w"),
        (lambda: View(Camera.from_fov(4, 2, 90.0), torch.rand(3, 4, 2), torch.ones(2, 4).bool()), "View.rgb"),
        (lambda: View(Camera.from_fov(4, 2, 90.0), torch.rand(3, 2, 4), torch.ones(4, 2).bool()), "View.known"),
        (lambda: Panorama(torch.rand(3, 4, 4), torch.ones(4, 4).bool()), "Panorama"),
        (lambda: DistanceMap(torch.ones(2, 4), torch.ones(2, 3).bool()), "DistanceMap.sky"),
        (lambda: PointCloud(torch.rand(3, 3), torch.rand(2, 3), torch.rand(3, 3), torch.rand(3)), "PointCloud.rgb"),
        (
            lambda: Gaussians(*(torch.rand(2, n) for n in (3, 4, 3)), torch.rand(2), torch.rand(2, 3)),
            "Gaussians.sh",
        ),
    ],
)
def test_wrong_shapes_are_named(make, name):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        make()


def test_clouds_join_and_part():
    first, second = cloud(3), cloud(2)
    both = first + second
    assert len(both) == 5
    assert torch.equal(both[3:].xyz, second.xyz)
    assert torch.equal(both[torch.tensor([True, False, True, False, False])].spacing, first.spacing[[0, 2]])

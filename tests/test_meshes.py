"""The collision mesh: where surfaces are, which way they face, and what two readers make of the file."""

import json

import numpy as np
import pytest
import torch
import trimesh

from tests.scenes import BoxRoom
from worldgen.geometry.equirect import directions
from worldgen.geometry.panorama_mesh import panorama_mesh
from worldgen.io.meshes import write_glb
from worldgen.types import DistanceMap

BOXES = {
    "right": (2.0, (1, 0, 0)),
    "above": (3.0, (0, -1, 0)),
    "ahead": (5.0, (0, 0, 1)),
}  # metres, x right y down z ahead


def shells() -> DistanceMap:
    """A patch of a sphere in each of three directions, each in its own distance; nothing else but sky."""
    rays = directions(128, 256)
    distance, sky = torch.full((128, 256), 100.0), torch.ones(128, 256, dtype=torch.bool)
    for reach, place in BOXES.values():
        there = rays @ torch.tensor(place, dtype=torch.float32) > 0.9
        distance[there], sky[there] = reach, False
    return DistanceMap(distance, sky)


def raw(path) -> np.ndarray:
    """Positions [V, 3] of a .glb's first mesh, by the letter of glTF 2.0."""
    content = path.read_bytes()
    assert content[:4] == b"glTF"
    head = int.from_bytes(content[12:16], "little")
    described = json.loads(content[20 : 20 + head])
    accessor = described["accessors"][described["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    view = described["bufferViews"][accessor["bufferView"]]
    assert accessor["componentType"] == 5126
    assert all("matrix" not in node or np.allclose(node["matrix"], np.eye(4).ravel()) for node in described["nodes"])
    start = 20 + head + 8 + view.get("byteOffset", 0)
    return np.frombuffer(content[start : start + 12 * accessor["count"]], "<f4").reshape(-1, 3)


def test_two_readers_find_things_where_they_are(tmp_path):
    write_glb(tmp_path / "a.glb", *panorama_mesh(shells()))
    loaded = trimesh.load_scene(tmp_path / "a.glb").to_geometry()
    for points in (np.asarray(loaded.vertices), raw(tmp_path / "a.glb")):
        for reach, (x, y, z) in BOXES.values():
            toward = np.array([x, -y, -z])  # glTF: y up, and its cameras look along -z
            near = points[np.linalg.norm(points - reach * toward, axis=1) < 0.5 * reach]
            assert len(near) > 20
            np.testing.assert_allclose(np.linalg.norm(near, axis=1), reach, rtol=0.01)
        assert len(points) == sum(
            np.isclose(np.linalg.norm(points, axis=1), reach, rtol=0.01).sum() for reach, _ in BOXES.values()
        )


def test_a_room_is_closed_and_faces_who_stands_in_it():
    room = BoxRoom(pillars=())
    vertices, triangles = panorama_mesh(room.panorama(256)[1])
    corners = vertices[triangles]
    normals = torch.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=1)
    assert ((normals * corners.mean(dim=1)).sum(dim=1) < 0).all()
    mesh = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    assert mesh.is_watertight
    assert -mesh.volume == pytest.approx(6.5 * 3.1 * 9.0, rel=0.02)
    assert room.surface_gap(vertices).quantile(0.9) < 0.1


def test_nothing_spans_near_and_far_things():
    room = BoxRoom()
    vertices, triangles = panorama_mesh(room.panorama(256)[1])
    reach = vertices.norm(dim=1)[triangles]
    assert (reach.amax(dim=1) / reach.amin(dim=1)).max() < 1.6
    assert len(triangles) < len(panorama_mesh(BoxRoom(pillars=()).panorama(256)[1])[1])


def test_all_sky_is_no_triangle(tmp_path):
    sky = DistanceMap(torch.full((32, 64), 100.0), torch.ones(32, 64, dtype=torch.bool))
    vertices, triangles = panorama_mesh(sky)
    assert len(triangles) == len(vertices) == 0

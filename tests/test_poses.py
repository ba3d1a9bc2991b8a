"""Bare frames that are posed by a network: pytest tests/test_poses.py"""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.made_depths import SIZE, views
from tests.posed_folders import ROOM, write_pictures
from tests.test_training_sets import checked
from train.data import found_poses
from train.data.chained_parts import Similarity, joined, parts
from train.data.found_poses import DEPTHS, POINTS, TRANSFORMS
from train.data.measured_folders import measured_folders
from train.data.metric_depth import MetricDepth
from train.data.pairs import ConditionedData
from train.data.pose import main
from train.data.posed import FolderScene
from worldgen.errors import UserError
from worldgen.geometry.cameras import distance_to_zdepth, look_at
from worldgen.io.ply import read_vertices
from worldgen.models.protocols import Adapter
from worldgen.models.runtime import Runtime
from worldgen.types import Camera, PosedDepth, ViewDepth

COUNT = 8
FRAMES = [ROOM.view(camera) for camera in views(COUNT).values()]
TRUTH = list(views(COUNT).values())


def true_depth(camera: Camera) -> ViewDepth:
    zdepth = distance_to_zdepth(camera, ROOM.view(camera).measured)
    return ViewDepth(zdepth, torch.ones_like(zdepth, dtype=torch.bool))


def number_of(rgb: Tensor) -> int:
    """Which of the room's frames it is."""
    return int(torch.stack([(rgb - frame.rgb).abs().mean() for frame in FRAMES]).argmin())


def seeded_similarity(seed: int) -> Similarity:
    random = torch.Generator().manual_seed(seed)
    yaw, pitch = (60 * torch.randn(2, generator=random)).tolist()
    rotation = look_at(yaw, pitch)[:3, :3].double()
    return Similarity(
        0.3 + float(torch.rand((), generator=random)), rotation, torch.randn(3, generator=random).double()
    )


class PosesTheRoom(Adapter):
    """The truth of the room's frames, in another world and another unit at every call. `blind`: frames that it knows no
    depth of. The lower left of every frame is nothing but wrong, and it says so."""

    def __init__(self, blind: int = 0, fails: Exception | None = None) -> None:
        self.asked: list[list[int]] = []
        self.blind, self.fails = blind, fails

    def __call__(self, rgb: Tensor) -> list[PosedDepth]:
        if self.fails:
            raise self.fails
        numbers = [number_of(each) for each in rgb]
        self.asked.append(numbers)
        leads = seeded_similarity(len(self.asked))
        return [leads.moved(self._posed(TRUTH[number], number < self.blind)) for number in numbers]

    def _posed(self, camera: Camera, blind: bool) -> PosedDepth:
        depth, sure = true_depth(camera), torch.ones(camera.height, camera.width)
        zdepth = depth.zdepth.clone()
        zdepth[-10:, :10], sure[-10:, :10] = 7.0, 0.5
        return PosedDepth(camera, ViewDepth(zdepth, torch.full_like(depth.valid, not blind)), sure)


class KnowsMetres(Adapter):
    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        return true_depth(TRUTH[number_of(rgb)])


def write_frames(scene: Path) -> Path:
    write_pictures(scene / "images", views(COUNT))
    return scene


def made(capsys, network: Adapter, folder: Path, *arguments: str) -> tuple[int, list[str], dict]:
    """Exit status, lines for a person, and the last line."""
    metric = MetricDepth(KnowsMetres(), None, Runtime(device="cpu"))
    told = [f"frames={folder}", f"size={SIZE[0]}", "at_once=4", "shared=2", "unsure=0.02", *arguments]
    silent = "metric_frames=0" in arguments
    with patch("train.data.pose._estimators", lambda config: (network, None if silent else metric)):
        status = main(told)
    captured = capsys.readouterr()
    return status, captured.err.splitlines(), json.loads(captured.out.splitlines()[-1]) if captured.out else {}


def test_parts_cover_all_and_share_what_they_should():
    for count, at_once, shared in [(1, 4, 2), (4, 4, 2), (5, 4, 2), (8, 4, 2), (100, 24, 6), (7, 3, 2)]:
        found = list(parts(count, at_once, shared))
        assert sorted(set().union(*found)) == list(range(count))
        assert all(len(part) <= at_once for part in found)
        for one, other in pairwise(found):
            assert list(one)[-shared:] == list(other)[:shared]
            assert len(other) > shared


def test_a_similarity_is_found_again_and_how_far_it_is_off_is_told():
    leads = seeded_similarity(3)
    found = [PosesTheRoom()._posed(camera, False) for camera in TRUTH[:3]]
    wanted = [leads.moved(each) for each in found]
    back, joint = joined(wanted, found)
    assert back.scale == pytest.approx(leads.scale, rel=1e-4)
    torch.testing.assert_close(back.rotation, leads.rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.shift, leads.shift, atol=1e-3, rtol=0)
    assert joint.turn_deg < 0.1
    assert joint.shift < 1e-3
    c2w = wanted[1].camera.c2w.clone()
    c2w[:3, :3] = c2w[:3, :3] @ look_at(9.0)[:3, :3]
    wanted[1] = replace(wanted[1], camera=replace(wanted[1].camera, c2w=c2w))
    assert joint.depth < 1e-3
    _, off = joined(wanted, found)
    assert 5 < off.turn_deg < 9  # one of three is 9 degrees off
    assert off.shift > 10 * joint.shift


def test_frames_at_one_place_can_be_joined():
    found = [PosesTheRoom()._posed(Camera.from_fov(*SIZE, 75.0, look_at(yaw)), False) for yaw in (0.0, 20.0)]
    leads = seeded_similarity(5)
    back, _ = joined([leads.moved(each) for each in found], found)
    assert back.scale == pytest.approx(leads.scale, rel=1e-4)
    torch.testing.assert_close(back.rotation, leads.rotation, atol=1e-4, rtol=0)


def test_a_scene_comes_in_metres_and_pairs_are_drawn_of_it(tmp_path, capsys):
    scene, network = write_frames(tmp_path / "walk"), PosesTheRoom()
    status, lines, facts = made(capsys, network, tmp_path)
    assert network.asked == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert (status, facts["scenes"], facts["frames"], facts["in_metres"]) == (0, 1, 8, 1)
    assert facts["worst_turn_deg"] < 0.1
    assert facts["worst_shift"] < 1e-3
    assert facts["worst_spread"] < 1.05
    assert "walk: 8 frames posed, in metres" in lines[0]
    assert "its 3 parts meet" in lines[0]
    measured = measured_folders(scene)[0]
    first = TRUTH[0].w2c
    for number, (camera, true) in enumerate(zip(measured.cameras(), TRUTH, strict=True)):
        torch.testing.assert_close(camera.c2w.float(), first @ true.c2w, atol=5e-3, rtol=0)
        assert camera.fx == pytest.approx(true.fx, rel=1e-4)
        zdepth = torch.from_numpy(np.load(scene / DEPTHS / f"frame_{number:05}.npy").astype(np.float32))
        assert (zdepth[-10:, :10] == 0).all()  # what the network is not sure of
        known = zdepth > 0
        assert known.float().mean() > 0.95
        assert ((zdepth / true_depth(true).zdepth)[known] - 1).abs().max() < 0.02
    data = ConditionedData(measured_folders(scene), "forward", size=64, min_known=0.1)
    for n in range(6):
        sample = data(6)[n]
        error = (sample.condition - sample.rgb).abs().mean(0)[sample.known]
        assert error.mean() < 0.5 * (sample.rgb.flip(2) - sample.rgb).abs().mean()
    assert checked(capsys, "data=posed", f"data.scenes.folders={scene}")[0] == 0


def test_the_points_lie_on_the_walls_and_a_fit_starts_from_them(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    made(capsys, PosesTheRoom(), scene, "points=4000")
    vertices = read_vertices(scene / POINTS)
    assert 2000 < len(vertices) <= 4000
    xyz = torch.from_numpy(np.stack([vertices[axis] for axis in "xyz"], 1)) @ TRUTH[0].c2w[:3, :3].T
    away = xyz + TRUTH[0].position
    rays = torch.nn.functional.normalize(away, dim=1)
    _, distance = ROOM.trace(torch.zeros(3), rays)
    assert (away.norm(dim=1) / distance - 1).abs().quantile(0.99) < 0.03
    fitted = FolderScene(scene, triangulate=False)()
    assert not fitted.guessed
    assert len(fitted.cloud) == len(vertices)


def test_poses_that_are_there_stay(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    made(capsys, PosesTheRoom(), tmp_path)
    before = (scene / TRANSFORMS).read_bytes()
    network = PosesTheRoom()
    status, lines, facts = made(capsys, network, tmp_path)
    assert (status, facts["there"], network.asked) == (0, 1, [])
    assert "its poses were there before (network PosesTheRoom, unit metres, every 1, left_out 0)" in lines[0]
    assert (scene / TRANSFORMS).read_bytes() == before


def test_without_metres_the_unit_is_said_to_be_any(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    _, lines, facts = made(capsys, PosesTheRoom(), scene, "metric_frames=0")
    assert facts["in_metres"] == 0
    assert "in a unit of its own" in lines[0]
    assert json.loads((scene / TRANSFORMS).read_text())["made_by_worldgen"]["unit"] == "any"


def test_bad_frames_are_told_counted_and_left_out(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    (scene / "images/frame_00002.png").write_bytes(b"nothing")
    Image.new("RGB", (50, 60)).save(scene / "images/frame_00005.png")
    status, lines, facts = made(capsys, PosesTheRoom(), tmp_path)
    assert (status, facts["frames"], facts["bad_frames"]) == (1, 6, 2)
    assert any("frame_00002.png" in line for line in lines)
    assert any("frame_00005.png: 50x60 pixels, wanted the shape of most frames" in line for line in lines)
    assert len(json.loads((scene / TRANSFORMS).read_text())["frames"]) == 6


def test_a_scene_that_cannot_be_used_stops_no_other_and_leaves_no_poses(tmp_path, capsys):
    write_frames(tmp_path / "b_walk")
    for name in ("a_broken", "c_twins"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"nothing")
    (tmp_path / "c_twins/a.jpg").write_bytes(b"nothing")
    status, lines, facts = made(capsys, PosesTheRoom(), tmp_path)
    assert (status, facts["scenes"], facts["bad_scenes"], facts["frames"]) == (1, 3, 2, 8)
    assert any("a.png: of the same name as" in line for line in lines)
    assert not (tmp_path / "a_broken" / TRANSFORMS).exists()


def test_shared_frames_without_depth_are_one_line(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    status, lines, _ = made(capsys, PosesTheRoom(blind=4), scene)
    assert status == 1
    assert lines == [f"{scene}: the frames that two parts share have no depth, wanted some"]
    assert not (scene / TRANSFORMS).exists()


@pytest.mark.parametrize(
    ("fails", "told"),
    [(UserError("poses: not here"), "poses: not here"), (torch.OutOfMemoryError(), "at_once: 4 frames do not fit")],
)
def test_a_network_that_cannot_go_on_ends_it(tmp_path, capsys, fails, told):
    status, lines, facts = made(capsys, PosesTheRoom(fails=fails), write_frames(tmp_path / "walk"))
    assert (status, facts) == (2, {})
    assert told in lines[0]


def test_a_network_that_is_not_here_leaves_nothing_behind(tmp_path, capsys, monkeypatch):
    def load(runtime):
        raise UserError("poses: not here")

    network, scene = PosesTheRoom(), write_frames(tmp_path / "walk")
    monkeypatch.setattr(network, "load", load)
    assert made(capsys, network, scene)[0] == 2
    assert [path.name for path in scene.iterdir()] == ["images"]


def test_one_of_so_many_frames_by_their_numbers(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    for number, path in enumerate(sorted((scene / "images").iterdir())):
        path.rename(scene / "images" / f"{number + 5}.png")
    network = PosesTheRoom()
    _, _, facts = made(capsys, network, scene, "every=3")
    assert facts["frames"] == 3
    assert network.asked == [[0, 3, 6]]  # 5, 8, 11; by their letters 11 and 10 would come first


def test_what_was_left_out_is_said_again(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    (scene / "images/frame_00002.png").write_bytes(b"nothing")
    first = made(capsys, PosesTheRoom(), scene)
    again = made(capsys, PosesTheRoom(), scene)
    assert (first[0], first[2]["bad_frames"]) == (again[0], again[2]["bad_frames"]) == (1, 1)
    assert "left_out 1" in again[1][0]


def test_poses_that_another_process_makes_meanwhile_stay(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")

    class Slow(PosesTheRoom):
        def load(self, runtime):
            if not (scene / TRANSFORMS).exists():
                made(capsys, PosesTheRoom(), scene)
                (scene / TRANSFORMS).write_text((scene / TRANSFORMS).read_text() + "\n")

    network = Slow()
    _, _, facts = made(capsys, network, scene)
    assert (facts["there"], network.asked) == (1, [])
    assert (scene / TRANSFORMS).read_text().endswith("\n\n")


def test_a_frame_whose_turn_nobody_can_see_is_left_out(tmp_path, capsys):
    scene = write_frames(tmp_path / "walk")
    image = Image.open(scene / "images/frame_00003.png")
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(scene / "images/frame_00003.png", exif=exif)
    _, lines, facts = made(capsys, PosesTheRoom(), scene)
    assert facts["bad_frames"] == 1
    assert any("frame_00003.png: EXIF orientation 3, which its size does not tell" in line for line in lines)


def test_a_scene_that_cannot_be_written_stops_no_other(tmp_path, capsys, monkeypatch):
    for name in ("a", "b"):
        write_frames(tmp_path / name)
    save = found_poses.save_zdepth

    def refuse(path, zdepth):
        if path.parts[-3] == "a":
            raise PermissionError(13, "Permission denied", str(path))
        save(path, zdepth)

    monkeypatch.setattr(found_poses, "save_zdepth", refuse)
    status, lines, facts = made(capsys, PosesTheRoom(), tmp_path)
    assert (status, facts["bad_scenes"], facts["frames"]) == (1, 1, 8)
    assert any("frame_00000.npy: cannot be written (Permission denied)" in line for line in lines)


def test_no_frame_loses_more_than_half_of_its_depth(tmp_path, capsys):
    class SurerLater(PosesTheRoom):
        def _posed(self, camera, blind):
            ramp = torch.linspace(0, 1, camera.height)[:, None].expand(-1, camera.width)
            return replace(super()._posed(camera, blind), sure=ramp + 50 * (camera.position[0] + 1))

    scene = write_frames(tmp_path / "walk")
    made(capsys, SurerLater(), scene, "unsure=0.5")
    for path in (scene / DEPTHS).glob("*.npy"):
        assert (np.load(path) > 0).mean() >= 0.5


def test_metres_that_are_not_here_are_said_before_anything_is_posed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(KnowsMetres, "weights", (), raising=False)
    monkeypatch.setattr(KnowsMetres, "unavailable", lambda self: "depth.shape: not here", raising=False)
    network = PosesTheRoom()
    status, lines, _ = made(capsys, network, write_frames(tmp_path / "walk"))
    assert (status, network.asked) == (2, [])
    assert "depth.shape: not here" in lines[0]


def test_a_folder_with_a_number_for_its_name_and_twice_the_same(tmp_path, capsys, monkeypatch):
    write_frames(tmp_path / "2024")
    monkeypatch.chdir(tmp_path)
    network = PosesTheRoom()
    status, _, facts = made(capsys, network, Path("[2024,2024/../2024]"))
    assert (status, facts["scenes"], facts["frames"]) == (0, 1, 8)


def test_what_systems_leave_behind_is_no_scene(tmp_path, capsys):
    write_frames(tmp_path / "walk")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/._f000.jpg").write_bytes(b"nothing")
    status, _, facts = made(capsys, PosesTheRoom(), tmp_path)
    assert (status, facts["scenes"]) == (0, 1)


@pytest.mark.parametrize(
    "setting", ["size=8", "at_once=2", "shared=4", "shared=1", "metric_frames=-1", "unsure=1", "points=0", "every=0"]
)
def test_bad_settings_name_their_key(tmp_path, capsys, setting):
    status, lines, _ = made(capsys, PosesTheRoom(), tmp_path, setting)
    assert status == 2
    assert lines[0].startswith(f"error: {setting.partition('=')[0]}: ")

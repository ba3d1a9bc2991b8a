"""Depth that is made for posed pictures that come without: pytest tests/test_depths.py"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import train.data.scene_points
from eval.synthetic.rendering import render
from eval.synthetic.textured_room import TexturedRoom
from tests.house import ROOT
from tests.made_depths import UNIT, KnowsTheRoom, in_unit, run, true_zdepth, views, write_model_beside, write_scene
from tests.posed_folders import ROOM, frame, wall_points, write_text_ply
from tests.test_training_sets import checked
from train.data import estimated_depth
from train.data.depth_files import save_zdepth
from train.data.depth_scale import DepthFit
from train.data.depths import main
from train.data.estimated_depth import RECORD
from train.data.measured_folders import measured_folders
from train.data.metric_depth import MetricDepth
from train.data.pairs import ConditionedData
from train.data.point_files import Points
from worldgen.errors import UserError
from worldgen.geometry.cameras import distance_to_zdepth, look_at, project, world_rays
from worldgen.models.protocols import Adapter
from worldgen.models.runtime import Runtime
from worldgen.runs import artifacts
from worldgen.types import Camera, ViewDepth

NAMES = [Path(name).stem for name in views()]


def made(capsys, network: Adapter, folder, *arguments) -> tuple[int, list[str], dict]:
    """Exit status, lines for a person, and the last line."""
    status = run(network, f"data.scenes.folders={folder}", *arguments)
    told = capsys.readouterr()
    return status, told.err.splitlines(), json.loads(told.out.splitlines()[-1]) if told.out else {}


def off(depths: Path, unit: float = UNIT) -> float:
    """The median over views of their mean relative error, in parts of the truth."""
    errors = []
    for name, camera in views().items():
        zdepth = torch.from_numpy(np.load((depths / name).with_suffix(".npy")).astype(np.float32))
        assert (zdepth[:2] == 0).all()  # not valid
        truth = unit * true_zdepth(in_unit(camera))
        errors.append(float((zdepth / truth - 1)[2:].abs().mean()))
    return float(np.median(errors))


def test_depths_have_the_poses_unit_and_pairs_are_drawn_from_them(tmp_path, capsys):
    scene = write_scene(tmp_path / "1K" / "0a1b")
    network = KnowsTheRoom(wrong=3.0)
    status, lines, facts = made(capsys, network, tmp_path)
    assert (status, facts["made"], facts["views"], facts["there"]) == (0, 8, 8, 0)
    assert facts["scaled_by"] == {"points": 8, "points_and_shift": 0, "scene": 0, "metres": 0}
    assert len(lines) == 1
    assert "0a1b: 8 pictures, 8 scaled by its own points" in lines[0]
    assert off(scene / "depth") < 0.01
    data = ConditionedData(measured_folders(tmp_path, "depth"), "forward", size=64, min_known=0.1)
    for n in range(6):
        sample = data(6)[n]
        error = (sample.condition - sample.rgb).abs().mean(0)[sample.known]
        assert error.mean() < 0.5 * (sample.rgb.flip(2) - sample.rgb).abs().mean()
    assert checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}")[0] == 0
    asked = network.asked
    _, lines, facts = made(capsys, network, tmp_path)
    assert (network.asked, facts["made"], facts["there"]) == (asked, 0, 8)
    assert "8 there before" in lines[0]


def test_a_network_that_knows_the_inverse_depth_but_for_a_shift(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b")
    _, lines, facts = made(capsys, KnowsTheRoom(wrong=2.0, shift=0.25), tmp_path)
    assert facts["scaled_by"]["points_and_shift"] >= 7
    assert "scaled and shifted by its own points" in lines[0]
    assert off(scene / "depth") < 0.02


def test_points_of_colmaps_model_beside_are_moved_into_the_poses_world(tmp_path, capsys):
    for zipped in (False, True):
        path = write_scene(tmp_path / "0a1b", points=False, zipped=zipped)
        write_model_beside(path.with_suffix(""))
        _, lines, facts = made(capsys, KnowsTheRoom(wrong=3.0), tmp_path, "triangulated=0")
        assert facts["scaled_by"]["points"] == 8
        assert "by the points of COLMAP's model beside" in lines[0]
        assert off(path.with_suffix("") / "depth") < 0.01
        shutil.rmtree(path.with_suffix(""))


def test_a_model_of_other_cameras_is_of_no_use_and_said_to_be(tmp_path, capsys, caplog):
    scene = write_scene(tmp_path / "0a1b", points=False)
    write_model_beside(scene)
    content = json.loads((scene / "transforms.json").read_text())
    poses = [one["transform_matrix"] for one in content["frames"]]
    for one, pose in zip(content["frames"], poses[3:] + poses[:3], strict=True):
        one["transform_matrix"] = pose
    (scene / "transforms.json").write_text(json.dumps(content))
    _, _, facts = made(capsys, KnowsTheRoom(), tmp_path, "triangulated=0")
    assert facts["scaled_by"]["metres"] == 8
    assert "its cameras stand otherwise" in caplog.text


def test_points_are_triangulated_where_there_are_none(tmp_path, capsys, monkeypatch):
    scene = write_scene(tmp_path / "0a1b", points=False)
    asked = []

    def found(where, given, cache):
        asked.append((len(given), cache))
        return Points(where, UNIT * wall_points(1500), torch.zeros(1500, 3))

    monkeypatch.setattr(train.data.scene_points, "triangulated_points", found)
    _, lines, facts = made(capsys, KnowsTheRoom(wrong=3.0), tmp_path, "triangulated=4")
    assert asked == [(4, scene / "depth/.points")]
    assert (facts["scaled_by"]["points"], "by triangulated points" in lines[0]) == (8, True)
    assert off(scene / "depth") < 0.01


def test_without_points_metres_are_left_and_said_to_be(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b", points=False)
    status, lines, facts = made(capsys, KnowsTheRoom(), tmp_path, "triangulated=0")
    assert (status, facts["scaled_by"]["metres"], facts["error"]) == (0, 8, None)
    assert "8 left in metres, for want of points that agree" in lines[0]
    assert off(scene / "depth", unit=1.0) < 0.01


def test_a_view_that_sees_too_few_points_is_scaled_as_the_others(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b")
    last = in_unit(list(views().values())[-1])
    xyz = UNIT * wall_points(1500)
    seen = project(last, xyz)[1] > 0
    write_text_ply(scene / "sparse_pc.ply", xyz[~seen], torch.zeros(int((~seen).sum()), 3))
    _, lines, facts = made(capsys, KnowsTheRoom(), tmp_path)
    assert facts["scaled_by"]["scene"] >= 1
    assert facts["scaled_by"]["points"] >= 1
    assert facts["scaled_by"]["metres"] == 0
    assert "as the others, for want of points that agree" in lines[0]
    assert off(scene / "depth") < 0.02


def test_a_zips_depths_are_its_folders(tmp_path, capsys):
    folder = write_scene(tmp_path / "folder" / "0a1b")
    zipped = write_scene(tmp_path / "zip" / "0a1b", zipped=True)
    for place in ("folder", "zip"):
        assert made(capsys, KnowsTheRoom(wrong=3.0), tmp_path / place)[0] == 0
    for name in NAMES:
        files = (folder / "depth", zipped.with_suffix("") / "depth")
        first, second = ((file / f"{name}.npy").read_bytes() for file in files)
        assert first == second
    status, lines, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path / 'zip'}")
    assert (status, lines, facts["scenes"], facts["views"]) == (0, [], 1, 8)
    assert ConditionedData(measured_folders(tmp_path / "zip", "depth"), "forward", size=64, min_known=0.1)(1)[0]


def test_what_cannot_be_used_is_a_line_and_stops_nothing(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b")
    (scene / "images_4" / f"{NAMES[2]}.png").write_bytes(b"GIF8")
    (tmp_path / "0c2d.zip").write_bytes(b"PK cut short")
    status, lines, facts = made(capsys, KnowsTheRoom(), tmp_path)
    assert (status, facts["made"], facts["bad_views"], facts["bad_scenes"], facts["scenes"]) == (1, 7, 1, 1, 2)
    assert sum(f"{NAMES[2]}.png: " in line for line in lines) == 1
    assert sum("0c2d.zip: no whole zip" in line for line in lines) == 1
    assert any("1 that cannot be used" in line for line in lines)
    assert len(lines) == 3


def test_killed_it_goes_on_and_ends_the_same(tmp_path, capsys):
    whole, killed = write_scene(tmp_path / "whole" / "0a1b"), write_scene(tmp_path / "killed" / "0a1b")
    made(capsys, KnowsTheRoom(wrong=3.0), tmp_path / "whole")
    command = [sys.executable, "-m", "tests.made_depths", "4", f"data.scenes.folders={tmp_path / 'killed'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode == -signal.SIGKILL
    there = sorted(path.name for path in (killed / "depth").iterdir() if not path.name.startswith("."))
    assert there == [f"{name}.npy" for name in NAMES[:3]] + [RECORD]
    _, _, facts = made(capsys, KnowsTheRoom(wrong=3.0), tmp_path / "killed")
    assert (facts["there"], facts["made"]) == (3, 5)
    for name in [*(f"{name}.npy" for name in NAMES), RECORD]:
        assert (whole / "depth" / name).read_bytes() == (killed / "depth" / name).read_bytes()


def test_a_scene_that_another_process_is_at_is_left_to_it(tmp_path, capsys):
    busy = write_scene(tmp_path / "0a1b")
    write_scene(tmp_path / "0c2d")
    (busy / "depth").mkdir()
    with (busy / "depth/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, lines, facts = made(capsys, KnowsTheRoom(), tmp_path)
    assert (facts["elsewhere"], facts["made"]) == (1, 8)
    assert lines[0] == "0a1b: another process is at it, left to that"


def test_two_pictures_of_one_name_share_no_depth(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b")
    shutil.copytree(scene / "images_4", scene / "left_4")
    content = json.loads((scene / "transforms.json").read_text())
    content["frames"][0]["file_path"] = content["frames"][1]["file_path"].replace("images", "left")
    (scene / "transforms.json").write_text(json.dumps(content))
    status, lines, facts = made(capsys, KnowsTheRoom(), tmp_path)
    assert (status, facts["made"], facts["bad_scenes"]) == (1, 0, 1)
    assert "of the same name as" in lines[0]


def test_a_distorted_lens_has_its_depth_pixel_by_pixel(tmp_path, capsys):
    write_scene(tmp_path / "0a1b", k1=-0.12, k2=0.02)
    assert made(capsys, KnowsTheRoom(), tmp_path)[2]["scaled_by"]["points"] == 8
    (scene,) = measured_folders(tmp_path, "depth")
    view = scene.view(3, 64)
    c2w = view.camera.c2w.clone()
    c2w[:3, 3] /= UNIT
    camera = Camera(c2w, 64, 64, view.camera.fx, view.camera.fy, view.camera.cx, view.camera.cy)
    error = (view.measured / (UNIT * ROOM.view(camera).measured) - 1).abs()[view.known]
    assert view.known.float().mean() > 0.9
    assert error.median() < 0.02


def test_depths_of_another_network_are_told_of(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b")
    made(capsys, KnowsTheRoom(), tmp_path)
    record = json.loads((scene / "depth" / RECORD).read_text())
    record[NAMES[0]]["network"] = "FastDepth"
    (scene / "depth" / RECORD).write_text(json.dumps(record))
    (scene / "depth" / f"{NAMES[1]}.npy").unlink()
    lines = made(capsys, KnowsTheRoom(), tmp_path)[1]
    assert "some of its depths are of FastDepth, the others come to be of KnowsTheRoom" in lines[0]


@dataclass
class Answers(Adapter):
    """The same depth, whatever it is shown."""

    zdepth: torch.Tensor
    error: str = ""

    def __call__(self, rgb: torch.Tensor, camera: Camera) -> ViewDepth:
        if self.error:
            raise UserError(self.error)
        return ViewDepth(self.zdepth, self.zdepth.isfinite())


@pytest.mark.parametrize("flat", [False, True])
def test_a_shape_is_scaled_to_the_metres_of_the_other_network(flat):
    truth = torch.full((8, 8), 4.0) if flat else torch.linspace(2, 6, 64).reshape(8, 8)
    truth[0] = torch.inf
    camera = Camera.from_fov(8, 8, 80.0)
    found = MetricDepth(Answers(truth / 7), Answers(truth), Runtime())(torch.zeros(3, 8, 8), camera)
    assert torch.allclose(found.zdepth[1:], truth[1:])
    assert (found.valid == truth.isfinite()).all()
    nothing = MetricDepth(Answers(truth / 7), Answers(torch.full((8, 8), torch.inf)), Runtime())
    assert not nothing(torch.zeros(3, 8, 8), camera).valid.any()


def test_a_network_that_cannot_run_ends_all_in_one_line(tmp_path, capsys):
    """It is no fault of the pictures, which would all be told of."""
    write_scene(tmp_path / "0a1b")
    status, lines, facts = made(capsys, Answers(torch.ones(72, 96), "runtime.device: cpu, wanted cuda"), tmp_path)
    assert (status, lines, facts) == (2, ["error: runtime.device: cpu, wanted cuda"], {})


def test_a_view_without_a_valid_depth_is_told_of_and_has_no_file(tmp_path, capsys):
    scene = write_scene(tmp_path / "0a1b")
    status, lines, facts = made(capsys, Answers(torch.full((72, 96), torch.inf)), tmp_path)
    assert (status, facts["made"], facts["bad_views"], len(lines)) == (1, 0, 8, 9)
    assert "frame_00000.png: nothing valid in the answer of Answers" in lines[0]
    assert not list((scene / "depth").glob("*.npy"))


@pytest.mark.parametrize("largest", [9.0, 1e6])
def test_depths_are_kept_to_a_thousandth(tmp_path, largest):
    zdepth = np.linspace(0, largest, 1000, dtype=np.float32).reshape(20, 50)
    save_zdepth(tmp_path / "depth.npy", zdepth)
    assert (np.abs(np.load(tmp_path / "depth.npy") - zdepth) <= 1.1e-3 * zdepth).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("depth=da360",), "depth: NativeDepth looks at panoramas, wanted one of views: "),
        (("data=room",), "data: has depth of its own"),
        (("data=posed",), "data.scenes.depth: null, wanted the folder"),
        (("triangulated=2",), "triangulated: 2, wanted"),
        (("size=8",), "size: 8, wanted 32"),
        (("depth.shape.path=nowhere",), "nowhere"),
    ],
)
def test_what_is_asked_wrongly_ends_in_one_line(tmp_path, capsys, arguments, message):
    write_scene(tmp_path / "0a1b")
    folders = [] if "data=room" in arguments else [f"data.scenes.folders={tmp_path}"]
    status = main([*folders, *arguments])
    told = capsys.readouterr()
    assert (status, told.out, len(told.err.splitlines())) == (2, "", 1)
    assert message in told.err


class KnowsTheTexturedRoom(Adapter):
    def __call__(self, rgb: torch.Tensor, camera: Camera) -> ViewDepth:
        distance = TexturedRoom().distance(camera.position, world_rays(camera))
        zdepth = distance_to_zdepth(camera, distance)
        return ViewDepth(3 * zdepth, torch.ones_like(zdepth, dtype=torch.bool))


@pytest.mark.slow
def test_what_is_triangulated_scales_as_well(tmp_path, capsys):
    """Of a textured room, by COLMAP's own features."""
    cameras = {
        f"{n}.png": Camera.from_fov(
            224, 224, 70.0, look_at(8.0 * n, 0.0, torch.tensor([0.25 * n - 0.5, 0.1 * (n % 2), 0]))
        )
        for n in range(5)
    }
    (tmp_path / "images").mkdir()
    for name, camera in cameras.items():
        artifacts.save_image(tmp_path / "images" / name, render(TexturedRoom(), camera, samples=1))
    one = cameras["0.png"]
    lens = {"w": 224, "h": 224, "fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy}
    frames = [frame(f"images/{name}", camera) for name, camera in cameras.items()]
    (tmp_path / "transforms.json").write_text(json.dumps(lens | {"frames": frames}))
    status, _, facts = made(capsys, KnowsTheTexturedRoom(), tmp_path, "size=224")
    assert (status, facts["scaled_by"]["points"]) == (0, 5)
    for name, camera in cameras.items():
        zdepth = torch.from_numpy(np.load(tmp_path / "depth" / f"{name[0]}.npy").astype(np.float32))
        truth = distance_to_zdepth(camera, TexturedRoom().distance(camera.position, world_rays(camera)))
        assert (zdepth / truth - 1).abs().median() < 0.02


def test_a_scenes_scale_is_of_shifted_views_where_no_other_is_known(tmp_path):
    views = {"a": ("points", None), "b": ("points_and_shift", 2.0), "c": ("metres", 9.0)}
    empty = dict.fromkeys(estimated_depth._KEYS)
    told = {name: empty | {"network": "n", "by": by, "scale": scale} for name, (by, scale) in views.items()}
    (tmp_path / "scales.json").write_text(json.dumps(told))
    assert estimated_depth._Record(tmp_path / "scales.json", "n").median_scale() == 2.0
    assert estimated_depth._Record(tmp_path / "scales.json", "other").median_scale() is None


def test_a_shift_near_its_pole_leaves_a_depth_unknown():
    fit = DepthFit(1.0, shift=-0.1)
    found = fit(torch.tensor([1.0, 5.0, 9.0, 9.9, 10.0, 20.0]))
    torch.testing.assert_close(found[:3], torch.tensor([1 / 0.9, 10.0, 90.0]))
    assert (found[3:] == 0).all()


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path, capsys):
    status, lines, _ = made(capsys, KnowsTheRoom(), tmp_path / "nowhere")
    assert status == 2
    assert lines == [f"error: data.scenes.folders: {tmp_path}/nowhere, wanted posed pictures that are there"]


def test_bad_scenes_are_told_to_those_who_want_it_quiet(tmp_path, capsys):
    write_scene(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/transforms.json").write_text("{}")
    status, lines, facts = made(capsys, KnowsTheRoom(), tmp_path, "quiet=true")
    assert (status, facts["bad_scenes"], len(lines)) == (1, 1, 1)
    assert "b/transforms.json" in lines[0]

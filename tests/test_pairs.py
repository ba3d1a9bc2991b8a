"""Pairs that a ControlNet is trained on: pytest tests/test_pairs.py"""

import json
import logging
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from tests.made_up import stand_in_panoramas
from tests.posed_folders import OPENGL, ROOM, SIZE, centred, lens, write_colmap, write_pictures
from tests.scenes import BoxRoom
from train.data import pairs
from train.data.measured_folders import measured_folders
from train.data.measured_runs import measured_runs
from train.data.pair_batches import Batches
from train.data.pairs import ConditionedData, collate
from worldgen.config import choice, choices, instantiate
from worldgen.errors import UserError
from worldgen.geometry.cameras import distance_to_zdepth, look_at, project
from worldgen.runs import artifacts
from worldgen.types import Camera, Prompts, View


@dataclass(frozen=True)
class Room:
    """Fulfils MeasuredScene. broken: pictures that cannot be read."""

    room: BoxRoom = field(default_factory=BoxRoom)
    name: str = "room"
    prompt: str = "a room"
    one_place: bool = False
    count: int = 12
    apart_m: float = 0.4
    broken: tuple[int, ...] = ()

    def cameras(self) -> list[Camera]:
        places = torch.tensor(
            [[-0.5 + self.apart_m * (n % 3), 0.1 * (n % 2), 0.2 * (n % 4)] for n in range(self.count)]
        )
        return [Camera.from_fov(64, 64, 80, look_at(12.0 * n, 0.0, places[n])) for n in range(self.count)]

    def place(self, number: int) -> str:
        return f"room/{number}.png"

    def view(self, number: int, size: int) -> View:
        if number in self.broken:
            raise UserError(f"room/{number}.npy: 3 depths are NaN, wanted none")
        return self.room.view(self.cameras()[number].resized(size, size))


def data(*scenes, **settings) -> ConditionedData:
    return ConditionedData(scenes or (Room(),), **{"size": 64, "max_angle_deg": 40.0} | settings)


def same(first, second) -> bool:
    tensors = ("rgb", "condition", "known")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in tensors)


def test_there_and_back_the_condition_is_the_target_where_it_is_known():
    for sample in map(data()(20).__getitem__, range(20)):
        assert torch.equal(sample.condition, sample.rgb * sample.known)
        assert 0.2 <= sample.known.float().mean() < 1
        assert (sample.prompt, sample.scene) == ("a room", "room")


def test_forward_with_exact_distance_the_condition_agrees_with_the_target():
    for sample in map(data(warp="forward")(12).__getitem__, range(12)):
        error = (sample.condition - sample.rgb).abs().mean(0)[sample.known]
        assert error.median() < 0.06  # a texel of the condition is as wide as a pixel of A is in B
        assert error.mean() < 0.3 * (sample.rgb.flip(2) - sample.rgb).abs().mean()
        assert (sample.condition[:, ~sample.known] == 0).all()
        assert 0.2 <= sample.known.float().mean() < 1


@pytest.mark.parametrize("warp", ["forward", "forward_backward"])
def test_samples_say_how_far_apart_the_two_places_are(warp):
    limits = {"min_baseline": 0.05, "max_baseline": 0.3}
    baselines = [sample.baseline for sample in map(data(warp=warp, **limits)(20).__getitem__, range(20))]
    assert max(baselines) <= 0.3 * 1.01
    assert max(baselines) > 1.5 * min(baselines) > 0
    assert warp == "forward_backward" or min(baselines) >= 0.05 * 0.99


def test_nobody_looks_from_within_or_behind_what_is_seen(monkeypatch):
    asked = []
    monkeypatch.setattr(pairs, "round_trip_warp", lambda view, camera: asked.append((view, camera)) or view)
    narrow = Room(BoxRoom(low=(-0.9, -1.5, -0.5), high=(0.9, 1.6, 1.2), pillars=()))
    samples = data(narrow, max_baseline=5.0)(60)
    assert all(samples[n].known.all() for n in range(60))
    assert samples.draws > 60  # some places were refused
    for view, camera in asked:
        pixel, zdepth = project(view.camera, camera.position)
        in_sight = zdepth > 0 and ((pixel >= 0) & (pixel < 64)).all()
        beyond = (camera.position < torch.tensor(narrow.room.low)) | (camera.position > torch.tensor(narrow.room.high))
        assert not (in_sight and beyond.any())


@pytest.mark.parametrize("warp", ["forward", "forward_backward"])
def test_a_sample_follows_from_its_number_and_the_seed(warp):
    samples, again = data(warp=warp)(8, seed=3), data(warp=warp)(100, seed=3)
    forwards = [samples[n] for n in range(8)]
    for n in (5, 0, 7, 5, 2):
        assert same(again[n], forwards[n])
    assert not same(forwards[0], forwards[1])
    assert not same(data(warp=warp)(8, seed=4)[0], forwards[0])
    with pytest.raises(IndexError):
        samples[8]


@pytest.mark.slow  # workers begin with nothing imported
def test_workers_give_the_same_samples_in_batches():
    samples = data(Room(broken=(2,)), most_bad=0.5)(9, seed=1)
    alone = list(Batches(samples, range(2, 8), 2))
    assert all(same(one, collate([samples[n], samples[n + 1]])) for one, n in zip(alone, (2, 4, 6), strict=True))
    found = list(Batches(samples, range(2, 8), 2, workers=2))
    assert all(same(batch, one) for batch, one in zip(found, alone, strict=True))


@pytest.mark.slow  # the same
def test_what_ends_the_training_comes_from_a_worker_as_one_line():
    broken = data(Room(broken=tuple(range(12))))(4)
    with pytest.raises(UserError, match=r"^data: \d+ of \d+ draws are bad.*; the last: room/\d+.npy[^\n]*$"):
        list(Batches(broken, range(4), 2, workers=1))


def test_batches_have_what_the_training_asks_for():
    samples = data()(6)
    batches = Batches(samples, [5, 0, 3, 1], 2)
    assert len(batches) == 2
    first = next(iter(batches))
    assert first.prompts == ["a room"] * 2
    assert first.rgb.shape == first.condition.shape == (2, 3, 64, 64)
    assert (first.known.shape, first.known.dtype) == ((2, 64, 64), torch.bool)
    assert torch.equal(first.rgb[0], samples[5].rgb)
    with pytest.raises(UserError, match=r"data.batch: 3, wanted a whole part of 4 samples"):
        Batches(samples, [5, 0, 3, 1], 3)


def test_a_bad_picture_is_left_out_counted_and_named_once(caplog):
    samples = data(Room(broken=(4,)), most_bad=0.3)(40)
    with caplog.at_level(logging.WARNING, "worldgen"):
        for n in range(40):
            samples[n]
    assert [record.getMessage() for record in caplog.records] == ["room/4.npy: 3 depths are NaN, wanted none; left out"]
    assert samples.draws >= 40 + sum(samples.bad.values())
    assert sum(samples.bad.values()) >= 1


def test_too_many_bad_pictures_end_the_training():
    samples = data(Room(broken=tuple(range(0, 12, 2))))(1000)
    with pytest.raises(UserError, match=r"draws are bad, wanted 10% at most \(data.most_bad\); the last: room/\d+.npy"):
        list(map(samples.__getitem__, range(1000)))
    assert samples.draws >= 20


def test_where_nothing_is_good_the_first_sample_says_so():
    with pytest.raises(UserError, match=r"draws are bad.*room/\d+.npy: 3 depths are NaN"):
        data(Room(broken=tuple(range(12))))(5)[0]
    with pytest.raises(UserError, match=r"50 draws in a row gave no sample.*no two views fit"):
        data(Room(apart_m=0.0, count=2), warp="forward", max_angle_deg=1)(5)[0]


@dataclass(frozen=True)
class Astray(Room):
    """Poses that say more of an overlap than there is: all it sees lies behind every other camera."""

    def view(self, number: int, size: int) -> View:
        view = super().view(number, size)
        behind = Camera(view.camera.c2w @ look_at(180.0), size, size, *[view.camera.fx] * 2, size / 2, size / 2)
        return replace(view, camera=behind if number % 2 else view.camera)


def test_views_without_overlap_are_bad_and_both_are_named():
    samples = data(Astray(), warp="forward", most_bad=0.0)(50)
    with pytest.raises(UserError, match=r"room/\d+.png: nothing of it is seen in room/\d+.png, wanted some overlap"):
        list(map(samples.__getitem__, range(50)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warp": "back"}, "data.warp: back, wanted one of forward, forward_backward"),
        ({"size": 8}, "data.size: 8"),
        ({"min_baseline": 0.6}, "data.min_baseline: 0.6, wanted 0 or more, less than max_baseline 0.5"),
        ({"min_known": 0.0}, "data.min_known: 0.0"),
        ({"most_bad": 1.0}, "data.most_bad: 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        data(**settings)


# --- folders of posed pictures with depth


def write_depths(folder, names_in_frames=True, suffix=".npy"):
    """The convex room by nerfstudio's layout, with exact depth: millimetres in a .png, or metres in a .npy."""
    views = centred()
    write_pictures(folder / "images", views)
    (folder / "depths").mkdir()
    frames = []
    for name, camera in views.items():
        file = f"depths/{name.removesuffix('.png')}{suffix}"
        zdepth = distance_to_zdepth(camera, ROOM.view(camera).distance).numpy()
        if suffix == ".npy":
            np.save(folder / file, zdepth)
        else:
            from PIL import Image

            Image.fromarray((zdepth * 1000).round().astype(np.uint16)).save(folder / file)
        frame = {"file_path": f"images/{name}", "transform_matrix": (camera.c2w @ OPENGL).tolist()}
        frames.append(frame | ({"depth_file_path": file} if names_in_frames else {}))
    content = {"frames": frames} | lens(next(iter(views.values())))
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(("named", "suffix"), [(True, ".npy"), (False, ".png")])
def test_a_posed_folder_has_its_distances(tmp_path, named, suffix):
    folder = write_depths(tmp_path / "scene", named, suffix)
    (scene,) = measured_folders(tmp_path, None if named else "depths")
    assert (scene.name, scene.folder) == ("scene", folder)
    for number in range(len(scene.cameras())):
        view = scene.view(number, SIZE[1])
        truth = ROOM.view(view.camera)
        assert (view.distance / truth.distance - 1).abs().max() < 1e-3
        assert (view.rgb - truth.rgb).abs().mean() < 0.01
        small = scene.view(number, 48)
        assert ((small.distance / ROOM.view(small.camera).distance - 1).abs() < 0.03).float().mean() > 0.95


def test_a_colmap_model_with_depth_beside_it_gives_samples(tmp_path):
    folder = write_colmap(tmp_path, model="SIMPLE_PINHOLE")
    (folder / "depth").mkdir()
    for name, camera in centred().items():
        np.save(
            folder / "depth" / f"{name.removesuffix('.png')}.npy",
            distance_to_zdepth(camera, ROOM.view(camera).distance),
        )
    sample = data(*measured_folders(folder, "depth"), size=48)(3)[2]
    assert torch.equal(sample.condition, sample.rgb * sample.known)


def spoil_nan(folder):
    broken = np.load(folder / "depths/view_1.npy")
    broken[3, 5] = np.nan
    np.save(folder / "depths/view_1.npy", broken)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nan, "view_1.npy: 1 depths are NaN, wanted none"),
        (lambda f: (f / "depths/view_1.npy").unlink(), "view_1.npy: not found, wanted the depth of a picture"),
        (lambda f: (f / "depths/view_1.npy").write_bytes(b"\x93NUMPY"), "view_1.npy: not a readable .npy"),
        (lambda f: np.save(f / "depths/view_1.npy", np.ones((4, 9))), "view_1.npy: 9x4 pixels, wanted its picture's"),
        (lambda f: np.save(f / "depths/view_1.npy", np.zeros(SIZE[::-1])), "view_1.npy: no distance is known"),
        (lambda f: np.save(f / "depths/view_1.npy", -np.ones(SIZE[::-1])), "view_1.npy: .* distances are below 0"),
        (lambda f: (f / "images/view_1.png").write_bytes(b"GIF8"), "view_1.png: "),
    ],
)
def test_a_bad_file_is_named_and_the_others_serve(tmp_path, spoil, message):
    spoil(write_depths(tmp_path))
    (scene,) = measured_folders(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        scene.view(1, 48)
    assert "\n" not in str(caught.value)
    samples = data(scene, size=48, most_bad=0.6)(10)
    assert all(samples[n].known.any() for n in range(10))


def test_a_folder_without_poses_is_a_bad_scene_among_good_ones(tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    scenes = [*measured_folders(tmp_path / "empty"), Room(), Room(name="other"), Room(), Room()]
    samples = data(*scenes, most_bad=0.5)(30)
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert {samples[n].scene for n in range(30)} == {"room", "other"}
    assert "empty: no manifest.json, transforms.json or COLMAP model" in caplog.text


def test_missing_folders_are_asked_for(tmp_path):
    for scenes in (measured_folders, measured_runs):
        with pytest.raises(UserError, match=r"data.scenes.folders: missing"):
            scenes(None)
    with pytest.raises(UserError, match=r"no run folder in it"):
        measured_runs(tmp_path)
    with pytest.raises(UserError, match=r"data.scenes.unit: 0"):
        measured_folders(tmp_path, unit=0)


# --- our own runs, and what is made up


def write_panorama(folder):
    """What a run leaves up to its depth step, of the room."""
    panorama, distances = BoxRoom().panorama(256)
    for step in ("panorama", "depth", "prompts"):
        (folder / step).mkdir(parents=True)
    artifacts.save_panorama(folder / "panorama", panorama)
    artifacts.save_distances(folder / "depth", distances)
    prompts = Prompts("a furnished room", "a ceiling", "a floor", indoor=True, source="by hand")
    artifacts.save_prompts(folder / "prompts" / "prompts.json", prompts)
    (folder / "manifest.json").write_text(json.dumps({"photo": {}, "steps": {}}))


def test_a_run_gives_views_of_its_panorama_with_their_distances(tmp_path):
    write_panorama(tmp_path / "a")
    (scene,) = measured_runs(tmp_path)
    view = scene.view(0, 64)
    truth = BoxRoom().view(view.camera)
    assert ((view.distance / truth.distance - 1).abs() < 0.1).float().mean() > 0.9
    sample = data(scene)(3)[0]
    assert torch.equal(sample.condition, sample.rgb * sample.known)
    assert sample.prompt == "a furnished room"
    with pytest.raises(UserError, match=r"data.warp: forward, but a has views of one place alone"):
        data(scene, warp="forward")


def test_every_choice_of_data_is_made(tmp_path, monkeypatch):
    stand_in_panoramas(monkeypatch)
    write_panorama(tmp_path / "a")
    write_depths(tmp_path / "b")
    places = {"runs": tmp_path / "a", "posed": tmp_path / "b"}
    downloads = ["dl3dv", "scannetpp", "tanks_and_temples"]  # tests/test_training_sets.py
    assert choices("data") == sorted([*places, "procedural", "procedural_test", "room", *downloads])
    for name in set(choices("data")) - set(downloads):
        config = choice("data", name)
        if name in places:
            config.scenes.folders = str(places[name])
        config.size = 48
        sample = instantiate(config)(2)[1]
        assert torch.equal(sample.condition, sample.rgb * sample.known)


def test_the_furnished_rooms_distances_are_those_of_its_pictures():
    config = choice("data", "room")
    config.size, config.warp, config.scenes.views = 64, "forward", 64
    sample = instantiate(config)(1)[0]
    error = (sample.condition - sample.rgb).abs().mean(0)[sample.known]
    assert error.median() < 0.06

"""A world at Weights & Biases: one real offline run, read back from the disk; what W&B cannot have stops no recipe."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from PIL import Image

from tests.scenes import BoxRoom, room_cloud
from tests.test_pipeline import FAKES
from tests.wandb_folders import begun, read_offline, stay_offline
from worldgen import pipeline
from worldgen.cli import NAMES_NO_RUN
from worldgen.command import run_suffix
from worldgen.config import compose
from worldgen.errors import UserError
from worldgen.io.clouds import save_cloud
from worldgen.present.console import Reporter
from worldgen.runs import wandb_media, wandb_session
from worldgen.runs.artifacts import save_image
from worldgen.runs.folder import RunFolder
from worldgen.runs.wandb_identity import kept
from worldgen.runs.wandb_media import points_of
from worldgen.runs.wandb_names import run_name, tags_of
from worldgen.runs.wandb_runs import NoTracking, WandbTracking, WorldRun

STEPS = ("panorama", "lift", "splat")
SHA256 = "0" * 64


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    stay_offline(tmp_path, monkeypatch)


@pytest.fixture
def notes() -> list[str]:
    return []


def make(run_dir: Path, notes: list[str], tracking=None, width: int = 32, steps=STEPS, **config: object) -> None:
    """A recipe of three steps that cost nothing."""

    def panorama(out: Path) -> dict:
        save_image(out / "panorama.png", BoxRoom().panorama(16)[0].rgb)
        return {"size": "32x16", "from_the_photo_percent": 5.5, "skipped": False}

    def lift(out: Path) -> dict:
        save_cloud(out / "cloud.safetensors", room_cloud(16))
        return {"points": 512}

    def splat(out: Path) -> dict:
        (out / "metrics.csv").write_text("gaussians,loss,step\n,0.5,10\n,0.25,20\n900,,20\n")
        (out / "gaussians.safetensors").write_bytes(b"splats")
        return {"gaussians": 900}

    chosen = {"profile": "embedded", "experiment": None}
    settings = {"panorama": {"heuristic": "anchored", "width": width}, "seed": 0, "group": None, "chosen": chosen}
    photo = run_dir.parent / "room.jpg"
    photo.parent.mkdir(parents=True, exist_ok=True)
    photo.write_bytes(b"a photo")
    run = WorldRun(run_dir, photo, SHA256, settings | config, steps, lambda: {"left": np.zeros((4, 6, 3), np.uint8)})
    with (
        RunFolder.open(run_dir, SHA256, "room.jpg") as folder,
        (tracking or WandbTracking(max_points=100)).of_run(run, notes.append) as log_step,
    ):
        made = {"panorama": panorama, "lift": lift, "splat": splat}
        for number, step in enumerate(steps):
            part = {"panorama": settings["panorama"]} if step == "panorama" else {}
            log_step(folder.step(step, part, steps[:number], made[step], assets={"migan.onnx": "ab12"}))


def logged(run_dir: Path) -> list:
    return [read_offline(path) for path in begun(run_dir)]


def test_a_world_is_one_run_with_all_that_is_known_of_it(tmp_path, notes):
    run_dir = tmp_path / "sweep" / "room-splat.steps=20"
    make(run_dir, notes)
    (run,) = logged(run_dir)
    assert (run.job_type, run.group, run.project, run.state) == ("world", "sweep", "worldgen", "finished")
    assert run.name == "room · anchored · seed 0 · splat.steps=20"
    assert run.tags == ["embedded", "room"]
    assert run.id == kept(run_dir, "world").id
    assert run.config["panorama"] == {"heuristic": "anchored", "width": 32}
    assert run.config["seed"] == 0
    about = run.config["about"]
    assert (about["photo"], about["photo_sha256"], about["profile"]) == ("room.jpg", SHA256, "embedded")
    assert about["weights"] == {"migan.onnx": "ab12"}
    assert {"python", "torch", "wandb", "worldgen"} <= set(about["versions"])
    assert about["machine"]["cpus"] >= 1
    for step in STEPS:
        assert run.summary[f"{step}/seconds"] >= 0
        assert run.summary[f"{step}/peak_memory_mb"] > 0
    assert run.summary["panorama/from_the_photo_percent"] == 5.5
    assert run.summary["panorama/size"] == "32x16"
    assert (run.curve("fit/step"), run.curve("fit/loss")) == ([10, 20, 20], [0.5, 0.25])
    files = begun(run_dir)[0].parent / "files"
    logged_picture = np.asarray(Image.open(files / run.summary["pictures/panorama"]["path"]))
    assert np.array_equal(logged_picture, np.asarray(Image.open(run_dir / "panorama/panorama.png")))
    assert run.summary["pictures/left"]["width"] == 6
    assert np.array(json.loads((files / run.summary["lift/cloud"]["path"]).read_text())).shape == (100, 6)
    assert notes == [f"W&B: offline, in {run_dir}/wandb; later: wandb sync {run_dir}/wandb"]


def test_what_was_logged_is_logged_no_more_until_it_changes(tmp_path, notes):
    run_dir = tmp_path / "run"
    make(run_dir, notes)
    make(run_dir, notes)
    assert len(begun(run_dir)) == len(notes) == 1
    Image.new("RGB", (32, 16), "red").save(run_dir / "panorama/panorama.png")
    make(run_dir, notes)  # what follows the edited picture is made again
    first, again = logged(run_dir)
    assert again.id == first.id
    assert again.summary["panorama/edited_by_hand"] == ["panorama.png"]
    assert {key for key in again.summary if key.endswith("/seconds")} == {f"{step}/seconds" for step in STEPS}
    make(run_dir, notes, width=64, steps=STEPS[:1])
    assert len(begun(run_dir)) == 2  # its panorama is the person's: nothing came out otherwise


def test_a_run_that_stopped_goes_on_with_the_same_w_and_b_run(tmp_path, notes):
    class StoppedError(Exception):
        pass

    class Stopping(WandbTracking):
        def of_run(self, run, note):
            tracked = super().of_run(run, note)
            log = tracked.__enter__()

            class Stops:
                def __enter__(self):
                    return self.log

                def __exit__(self, *error):
                    return tracked.__exit__(*error)

                def log(self, result):
                    log(result)
                    if result.name == "lift":
                        raise StoppedError

            return Stops()

    with pytest.raises(StoppedError):
        make(tmp_path / "run", notes, Stopping())
    make(tmp_path / "run", notes)
    stopped, rest = logged(tmp_path / "run")
    assert (stopped.state, rest.state) == ("failed", "finished")
    assert stopped.id == rest.id
    assert [key for key in stopped.summary if key.endswith("/seconds")] == ["panorama/seconds", "lift/seconds"]
    assert [key for key in rest.summary if key.endswith("/seconds")] == ["splat/seconds"]


def test_a_copied_folder_gets_a_run_of_its_own_and_a_moved_one_keeps_its(tmp_path, notes):
    make(tmp_path / "a", notes)
    first = kept(tmp_path / "a", "world").id
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    make(tmp_path / "b", notes)
    copied = logged(tmp_path / "b")[-1]
    assert copied.id != first
    assert copied.config["about"]["copied_from"] == first
    assert "splat/seconds" in copied.summary  # told of all that the copy holds
    (tmp_path / "a").rename(tmp_path / "c")
    make(tmp_path / "c", notes)
    assert kept(tmp_path / "c", "world").id == first
    assert len(begun(tmp_path / "c")) == 1


def test_a_broken_note_of_what_was_logged_is_no_loss(tmp_path, notes):
    make(tmp_path / "run", notes, tracking=NoTracking())
    assert not begun(tmp_path / "run")
    make(tmp_path / "run", notes)
    (tmp_path / "run/wandb/world.json").write_text("killed while it was wri")
    make(tmp_path / "run", notes)
    assert ["splat/seconds" in run.summary for run in logged(tmp_path / "run")] == [True, True]


def test_the_environment_is_heard_and_keys_win_over_it(tmp_path, notes, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "of the environment")
    monkeypatch.setenv("WANDB_ENTITY", "us")
    composed = compose("photo.jpg", ["logger=wandb"]).logger
    make(tmp_path / "run", notes, WandbTracking(**{key: value for key, value in composed.items() if key[0] != "_"}))
    make(tmp_path / "run", notes, WandbTracking(project="named", entity="me"))
    make(tmp_path / "run", notes, WandbTracking(project="named", entity="me"))
    runs = logged(tmp_path / "run")
    assert [(run.project, run.entity) for run in runs] == [("of the environment", "us"), ("named", "me")]
    assert runs[0].id != runs[1].id
    monkeypatch.setenv("WANDB_MODE", "online")
    make(tmp_path / "other", notes, WandbTracking(mode="offline"))
    assert len(begun(tmp_path / "other")) == 1
    with pytest.raises(UserError, match=r"logger\.mode: sideways, wanted one of online"):
        WandbTracking(mode="sideways")


def test_files_are_kept_on_request_with_what_they_were_made_from(tmp_path, notes):
    make(tmp_path / "run", notes, WandbTracking(artifacts=["panorama", "splats", "weights"]))
    (run,) = logged(tmp_path / "run")
    panorama, splats = run.artifacts
    assert panorama["name"] == f"panorama-{run.id}"
    assert (panorama["type"], panorama["files"]) == ("panorama", ["panorama.png"])
    assert panorama["metadata"]["made_from"]["photo_sha256"] == SHA256
    assert splats["files"] == ["gaussians.safetensors"]
    assert splats["metadata"]["made_from"]["panorama"] == panorama["name"]
    assert {f"artifact/{one['name']}" for one in run.artifacts} <= set(kept(tmp_path / "run", "world").logged)
    make(tmp_path / "plain", notes)
    assert logged(tmp_path / "plain")[0].artifacts == []
    with pytest.raises(UserError, match=r"logger\.artifacts: cloud, wanted some of panorama, splats, weights"):
        WandbTracking(artifacts=["cloud"])


def test_names_are_readable():
    assert run_name(Path("runs/venice"), "venice", "anchored", 0) == "venice · anchored · seed 0"
    swept = Path("runs/s/venice-panorama=adhoc-seed=3-splat.steps=20-a=x-y")
    assert run_name(swept, "venice", "adhoc", 3) == "venice · adhoc · seed 3 · splat.steps=20 · a=x-y"
    assert run_name(Path("runs/kitchen"), "venice", "adhoc", 3) == "venice · adhoc · seed 3 · kitchen"
    assert tags_of("embedded", None, "x" * 99, "embedded") == ("embedded", "x" * 64)


def test_who_is_told_of_a_run_does_not_name_its_folder():
    overrides = ["image=a.jpg", "logger=wandb", "logger.project=mine", "group=mine", "seed=1"]
    assert run_suffix(overrides, NAMES_NO_RUN) == "seed=1"


def test_a_group_can_be_named(tmp_path, notes):
    make(tmp_path / "run", notes, group="mine")
    assert [run.group for run in logged(tmp_path)] == ["mine"]


def test_a_run_that_is_under_way_is_left_alone(tmp_path, notes):
    with wandb.init(
        project="worldgen", id="training", dir=str(tmp_path), settings=wandb.Settings(silent=True)
    ) as other:
        make(tmp_path / "run", notes)
        assert wandb.run is other
        other.log({"loss": 0.5})
    (training,) = map(read_offline, begun(tmp_path / "wandb"))
    assert training.summary["loss"] == 0.5
    assert "panorama/seconds" not in training.summary


def test_an_unreachable_wandb_is_said_once_and_made_up_for_later(tmp_path, notes, monkeypatch, caplog):
    tries = []

    def init(**settings):
        tries.append(settings)
        raise wandb.errors.CommError("no answer.\nlong story")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "worldgen"):
        patched.setattr(wandb, "init", init)
        make(tmp_path / "run", notes)
    assert len(tries) == 1
    assert (tmp_path / "run/splat/gaussians.safetensors").exists()
    assert "W&B: CommError: no answer." in caplog.text
    assert notes == ["W&B cannot be had (no answer); the run goes on, the same command logs it later"]
    make(tmp_path / "run", notes)
    (run,) = logged(tmp_path / "run")
    assert {f"{step}/seconds" for step in STEPS} <= set(run.summary)


def test_a_picture_that_wandb_cannot_take_ends_its_run_and_not_ours(tmp_path, notes, monkeypatch):
    monkeypatch.setattr(wandb_media, "PICTURES", {"panorama": ".step.json"})
    make(tmp_path / "run", notes)
    assert len(notes) == 2
    assert notes[1].startswith("W&B cannot be had (")
    assert logged(tmp_path / "run")[0].state == "failed"
    assert wandb.run is None


def test_a_folder_whose_name_is_no_utf8_is_told_once(tmp_path, notes, capfd):
    run_dir = tmp_path / "caf\udce9"
    make(run_dir, notes)
    (note,) = notes
    assert note.startswith(f"W&B cannot be had ({run_dir}: not UTF-8, wanted a name that is)")
    assert capfd.readouterr().err == ""
    assert not begun(run_dir)


def test_side_steps_that_fail_are_no_loss(tmp_path, notes, monkeypatch, caplog):
    monkeypatch.setattr(WorldRun, "side_steps", property(lambda run: lambda: 1 / 0, lambda run, value: None))
    with caplog.at_level(logging.WARNING, "worldgen"):
        make(tmp_path / "run", notes)
    assert "W&B: no side-steps: ZeroDivisionError" in caplog.text
    assert "splat/seconds" in logged(tmp_path / "run")[0].summary


def test_nothing_is_kept_where_wandb_is_disabled(tmp_path, notes, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    make(tmp_path / "run", notes)
    assert notes == []
    assert not (tmp_path / "run/wandb/world.json").exists()


def test_without_the_package_a_run_does_not_begin(tmp_path, monkeypatch):
    Image.new("RGB", (96, 96)).save(tmp_path / "photo.png")
    monkeypatch.setattr(wandb_session, "find_spec", lambda name: None)
    config = compose(tmp_path / "photo.png", ["logger=wandb"], out=tmp_path / "run")
    with pytest.raises(UserError, match=r"logger=wandb: .* wanted pip install 'worldgen\[wandb\]'"):
        pipeline.run(config, Reporter(quiet=True))
    assert not (tmp_path / "run").exists()


def test_the_recipe_logs_its_steps(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)).save(tmp_path / "photo.png")
    overrides = [*FAKES, "logger=wandb", "until=prompts"]
    for _ in range(2):
        pipeline.run(compose(tmp_path / "photo.png", overrides, out=tmp_path / "sweep/run"), Reporter(quiet=True))
    (run,) = logged(tmp_path / "sweep/run")
    assert run.summary["fov/deg"] == 70.0
    assert run.config["prompts"]["_target_"].endswith("PlainPrompter")
    assert run.config["until"] == "prompts"
    assert "image" not in run.config
    assert run.tags == ["embedded", "tiny", "photo"]
    assert run.name == "photo · anchored · seed 0 · run"


def test_points_stand_upright_in_their_colours_and_stay_the_same(tmp_path):
    cloud = room_cloud(32)
    save_cloud(tmp_path / "cloud.safetensors", cloud)
    points = points_of(tmp_path / "cloud.safetensors", 10_000)
    assert np.allclose(points[:, :3] * [1, -1, -1], cloud.xyz.numpy(), atol=6e-4)
    assert np.allclose(points[:, 3:] / 255, cloud.rgb.numpy(), atol=0.5 / 255 + 1e-6)
    some = points_of(tmp_path / "cloud.safetensors", 50)
    assert some.shape == (50, 6)
    assert np.array_equal(some, points_of(tmp_path / "cloud.safetensors", 50))
    assert {tuple(point) for point in some} <= {tuple(point) for point in points}
    save_cloud(tmp_path / "none.safetensors", cloud[torch.zeros(len(cloud), dtype=torch.bool)])
    assert points_of(tmp_path / "none.safetensors", 50) is None

"""A completion's folder: killed anywhere, it goes on and ends with the same files: pytest tests/test_visits.py"""

from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
import torch

from tests.fakes import FlatDepth, SmoothInpainter
from tests.scenes import BoxRoom
from worldgen.errors import UserError
from worldgen.io.clouds import load_cloud
from worldgen.models.inpainting_completer import InpaintingCompleter
from worldgen.recipe.complete import CompleteSettings, Completion, complete
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.runs.artifacts import CompletedViews
from worldgen.runs.visits import KeptVisits
from worldgen.types import PointCloud, Prompts

PROMPTS = Prompts("a place", "above", "below", False, "test")
ALL = CompleteSettings(budget=None, order="all", at_once=49, size=32, min_hole=0.0, max_hole=1.0, pinhole_px=0)


class Killed(Exception):
    pass


class Mortal(InpaintingCompleter):
    """Dies when it is called for the time `dies`."""

    dies = 0
    calls = count()

    def _completed(self, views, prompts, seeds):
        if next(Mortal.calls) == Mortal.dies:
            raise Killed
        return super()._completed(views, prompts, seeds)


@pytest.fixture(scope="module")
def cloud() -> PointCloud:
    panorama, distances = BoxRoom(pillars=(((0.6, -1.5, 2.0), (1.1, 1.6, 2.5)),)).panorama(96)
    return lift(panorama.rgb, distances, LiftSettings())


def completed(cloud: PointCloud, folder: Path, settings: CompleteSettings, dies: int = -1) -> Completion:
    Mortal.dies, Mortal.calls = dies, count()
    folder.mkdir(exist_ok=True)
    visits = KeptVisits(folder)
    done = complete(cloud, PROMPTS, Mortal(SmoothInpainter()), FlatDepth(), settings, visits, seed=5)
    visits.finish()
    return done


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("settings", "calls"),  # of the completer, at which it dies
    [
        pytest.param(CompleteSettings(budget=6, size=48, min_hole=0.05), (0, 1, 3), marks=pytest.mark.slow),
        (CompleteSettings(budget=10, size=48, at_once=3, min_hole=0.05), (0, 1, 3)),
        pytest.param(ALL, (3,), marks=pytest.mark.slow),
    ],
    ids=["one by one", "in rounds", "all"],
)
def test_killed_at_any_call_it_ends_with_the_same_files(cloud, tmp_path, settings, calls):
    whole = completed(cloud, tmp_path / "whole", settings)
    wanted = files(tmp_path / "whole")
    assert {"cloud.safetensors", "cameras.json", "000.png", "000_inpainted.png"} <= set(wanted)
    assert len(wanted) == 2 + 2 * whole.views
    for call in calls:
        folder = tmp_path / f"killed {call}"
        with pytest.raises(Killed):
            completed(cloud, folder, settings, dies=call)
        assert completed(cloud, folder, settings, dies=-1) == whole
        assert files(folder) == wanted


def test_what_was_made_is_not_made_again(cloud, tmp_path):
    settings, killed = CompleteSettings(budget=6, size=48, min_hole=0.05), tmp_path / "killed"
    completed(cloud, tmp_path / "whole", settings)
    needed = next(Mortal.calls)
    with pytest.raises(Killed):
        completed(cloud, killed, settings, dies=3)
    assert len(list((killed / "visits").glob("*.safetensors"))) == 3
    completed(cloud, killed, settings)
    assert next(Mortal.calls) == needed - 3


@pytest.mark.slow
def test_all_takes_every_camera_of_the_cube_in_turn(cloud, tmp_path):
    done = completed(cloud, tmp_path, ALL)
    views = CompletedViews(tmp_path)
    assert done.visits == 196
    assert 14 <= done.views == len(views) == len(views.cameras) <= 196
    assert done.points == len(load_cloud(tmp_path / "cloud.safetensors"))
    places = torch.stack([camera.position for camera in views.cameras])
    assert len(torch.unique_consecutive(places, dim=0)) == len(torch.unique(places, dim=0)) > 4


def test_views_are_read_one_by_one(cloud, tmp_path):
    completed(cloud, tmp_path, CompleteSettings(budget=3, size=48))
    views = CompletedViews(tmp_path)
    (tmp_path / "001.png").write_bytes(b"no picture")
    assert [one.view.camera for one in (views[0], views[-1])] == [views.cameras[0], views.cameras[2]]
    assert len(views[2:]) == 1
    with pytest.raises(IndexError):
        views[3]
    with pytest.raises(UserError, match=r"001\.png: not a readable picture"):
        views[1]


def test_nothing_to_complete_leaves_no_views(tmp_path):
    panorama, distances = BoxRoom(pillars=()).panorama(64)
    done = completed(lift(panorama.rgb, distances, LiftSettings()), tmp_path, CompleteSettings(size=48, min_hole=0.3))
    assert done.views == len(CompletedViews(tmp_path)) == 0
    assert len(load_cloud(tmp_path / "cloud.safetensors")) == done.points

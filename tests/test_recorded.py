"""Views kept as they are made: what was painted is never painted again, and comes back the same."""

import pytest
import torch

from tests.fakes import SmoothInpainter
from tests.outdoors import meadow
from worldgen.models.conformance import picture
from worldgen.models.recorded import RecordedInpainter
from worldgen.recipe.given import front_view
from worldgen.recipe.panorama import PanoramaSettings, synthesize
from worldgen.types import Prompts

PROMPTS = Prompts("all round", "above", "below", indoor=False, source="test")


class Killed(Exception):
    pass


class Mortal(SmoothInpainter):
    """Paints so many pictures and dies; every picture's colours depend on its seed."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives, self.painted = lives, 0

    def __call__(self, rgb, known, prompts, seeds):
        if self.painted + len(rgb) > self.lives:
            raise Killed
        self.painted += len(rgb)
        tint = torch.tensor([seed % 7 for seed in seeds])[:, None, None, None] / 255
        smooth = super().__call__(rgb, known, prompts, seeds)
        return torch.where(known[:, None] == 1, smooth, (smooth + tint).clamp(0, 1))


def photo_of_the_meadow():
    return front_view(meadow(64)[0].rgb, 80.0)


def paint(inpainter, folder, heuristic):
    settings = PanoramaSettings(heuristic=heuristic, width=128, view_size=32)
    return synthesize(photo_of_the_meadow(), PROMPTS, RecordedInpainter(inpainter, folder), settings, seed=5)


@pytest.mark.parametrize(("heuristic", "killed_at"), [("anchored", 1), ("anchored", 5), ("adhoc", 0)])
def test_a_killed_synthesis_goes_on_where_it_was_and_ends_the_same(tmp_path, heuristic, killed_at):
    undisturbed = Mortal(1000)
    wanted = paint(undisturbed, tmp_path / "undisturbed", heuristic)
    with pytest.raises(Killed):
        paint(Mortal(killed_at), tmp_path / "views", heuristic)
    assert len(list((tmp_path / "views").iterdir())) == killed_at
    second = Mortal(1000)
    made = paint(second, tmp_path / "views", heuristic)
    assert second.painted == undisturbed.painted - killed_at
    assert torch.equal(made.rgb, wanted.rgb)
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "undisturbed").iterdir()}
    assert pictures == {path.name: path.read_bytes() for path in (tmp_path / "views").iterdir()}
    assert len(pictures) == undisturbed.painted > 0


def test_a_finished_synthesis_asks_nobody_and_a_half_written_picture_does_not_count(tmp_path):
    wanted = paint(Mortal(1000), tmp_path, "anchored")
    assert torch.equal(paint(Mortal(0), tmp_path, "anchored").rgb, wanted.rgb)
    last = max(tmp_path.iterdir())
    last.rename(tmp_path / f".new-{last.name}")
    once = Mortal(1)
    assert torch.equal(paint(once, tmp_path, "anchored").rgb, wanted.rgb)
    assert once.painted == 1


def test_a_batch_that_was_cut_short_is_painted_as_a_whole(tmp_path):
    rgb, known = torch.stack([picture(), picture(1)]), torch.zeros(2, 96, 128)
    first = RecordedInpainter(Mortal(2), tmp_path / "batch")(rgb, known, ["", ""], [1, 2])
    (tmp_path / "batch" / "001.png").unlink()
    again = Mortal(2)
    assert torch.equal(RecordedInpainter(again, tmp_path / "batch")(rgb, known, ["", ""], [1, 2]), first)
    assert again.painted == 2

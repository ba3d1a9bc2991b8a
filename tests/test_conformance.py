"""Every adapter that there is keeps its contract, and the checks find adapters that do not."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import FlatDepth, NarrowFov, PlainPrompter, Repainter, SmoothInpainter, WallAhead
from worldgen.embedded.auto_depth import AutoDepth
from worldgen.embedded.completer import DisocclusionCompleter
from worldgen.embedded.fastdepth import FastDepth
from worldgen.embedded.geometric_depth import GeometricDepth
from worldgen.embedded.migan import MiganInpainter
from worldgen.embedded.recognised_prompts import RecognisingPrompter
from worldgen.embedded.room_depth import RoomDepth
from worldgen.models import conformance
from worldgen.models.conformance import Violation
from worldgen.models.inpainting_completer import InpaintingCompleter
from worldgen.models.protocols import Adapter
from worldgen.recipe.depth import MergeSettings, ViewMergedDepth
from worldgen.recipe.fov import ExifFov, FixedFov
from worldgen.types import DistanceMap, Fov, Prompts, ViewDepth

MERGED = ViewMergedDepth(FastDepth(), settings=MergeSettings(view_size=64, merge_height=64))


@pytest.mark.parametrize(
    "adapter", [SmoothInpainter(), pytest.param(MiganInpainter(), marks=pytest.mark.slow)], ids=type
)
def test_inpainters(adapter):
    conformance.check_inpainter(adapter)


@pytest.mark.parametrize("adapter", [FlatDepth(), FastDepth()], ids=type)
def test_depth_estimators(adapter):
    conformance.check_depth_estimator(adapter)


@pytest.mark.parametrize(
    "adapter",
    [
        WallAhead(),
        pytest.param(MERGED, marks=pytest.mark.slow),  # as in test_depth_choices.py, with a quicker network
        pytest.param(AutoDepth(RoomDepth(MERGED), GeometricDepth(relief=MERGED)), marks=pytest.mark.slow),
    ],
    ids=type,
)
def test_panorama_depths(adapter):
    conformance.check_panorama_depth(adapter)


@pytest.mark.parametrize("adapter", [PlainPrompter(), RecognisingPrompter()], ids=type)
def test_prompters(adapter):
    conformance.check_prompter(adapter)


@pytest.mark.parametrize("adapter", [NarrowFov(), ExifFov(), FixedFov()], ids=type)
def test_fov_estimators(adapter):
    conformance.check_fov_estimator(adapter)


@pytest.mark.parametrize(
    "adapter",
    [DisocclusionCompleter(SmoothInpainter(), FlatDepth()), InpaintingCompleter(SmoothInpainter())],
    ids=type,
)
def test_view_completers(adapter):
    conformance.check_view_completer(adapter)


class WrongCompleter(InpaintingCompleter):
    """Completes well, and then `spoils` it."""

    spoil = staticmethod(lambda completed: completed)

    def begin(self, cloud, prompts):
        complete = super().begin(cloud, prompts)
        return lambda *asked: [self.spoil(completed) for completed in complete(*asked)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda one: replace(one, view=replace(one.view, rgb=1 - one.view.rgb)), "changed known pixels by up to"),
        (lambda one: replace(one, view=replace(one.view, known=one.inpainted)), "known pixels became unknown"),
        (lambda one: replace(one, inpainted=one.view.known), "inpainted beyond the holes"),
        (lambda one: replace(one, inpainted=one.inpainted & False), "inpainted no hole, wanted some"),
        (lambda one: replace(one, view=replace(one.view, distance=one.view.rgb[0] * 0)), "distance of known pixels"),
        (lambda one: replace(one, view=replace(one.view, distance=one.view.rgb[0] * 0 + 1)), "moved known pixels"),
    ],
)
def test_wrong_completers_are_found(spoil, message):
    adapter = WrongCompleter(SmoothInpainter())
    type(adapter).spoil = staticmethod(spoil)
    with pytest.raises(Violation, match=f"WrongCompleter: {message}"):
        conformance.check_view_completer(adapter)


def test_image_to_image():
    conformance.check_image_to_image(Repainter())
    with pytest.raises(Violation, match="Says: picture: shape"):
        conformance.check_image_to_image(Says(torch.zeros(2, 3, 8, 8)))


class Wrong(SmoothInpainter):
    """Paints well, and then `spoils` it."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil, self.calls = spoil, 0

    def __call__(self, rgb, known, prompts, seeds):
        self.calls += 1
        painted = super().__call__(rgb, known, prompts, seeds)
        return self.spoil(painted, rgb, known, self.calls)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda painted, *_: painted[:, :, 1:], r"picture: shape \[2, 3, 95, 128\], wanted \[2, 3, 96, 128\]"),
        (lambda painted, *_: painted.double(), r"picture: torch.float64, wanted torch.float32"),
        (lambda painted, *_: painted * 1.5, r"values from .* wanted 0 to 1"),
        (lambda painted, *_: painted * float("nan"), r"asked twice answers two things|values from nan"),
        (lambda painted, *_: (painted + 0.001).clamp(0, 1), r"off a multiple of 1/255"),
        (lambda painted, *_: 1 - painted, r"changed known pixels by up to 0\.\d+, wanted known pixels farther than 8"),
        (lambda painted, rgb, known, calls: (painted + calls / 255).clamp(0, 1), r"asked twice answers two things"),
        (
            lambda painted, rgb, known, _: torch.where(known[:, None] < 1, (rgb * 255).round() / 255, painted),
            "looks at",
        ),
        (
            lambda painted, rgb, known, _: (
                torch.where(known[:, None] < 1, len(rgb) / 8, painted).mul(255).round() / 255
            ),
            r"a picture of a batch, and painted alone: 0\.\d+ apart, wanted at most 0\.0078",
        ),
    ],
)
def test_wrong_inpainters_are_found(spoil, message):
    with pytest.raises(Violation, match=f"^Wrong: .*(?:{message})"):
        conformance.check_inpainter(Wrong(spoil))


def test_an_adapter_that_is_never_loaded_or_forgets_is_found():
    class Eternal:
        def __call__(self, rgb):
            return Prompts("a", "b", "c", False, "d")

    class Forgetful(Adapter):
        loads = 0

        def load(self, runtime):
            self.loads += 1

        def __call__(self, photo):
            return Fov(40.0 + self.loads, "loads")

    with pytest.raises(Violation, match=r"Eternal: has no load\(\), wanted protocols.Lifetime"):
        conformance.check_prompter(Eternal())
    with pytest.raises(Violation, match="Forgetful: loaded again answers another thing, wanted the same"):
        conformance.check_fov_estimator(Forgetful())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Prompts("a", "  ", "c", False, "d"), "sky is '  ', wanted words"),
        (Prompts("a", "b", "c", 1, "d"), "indoor is 1, wanted True or False"),
    ],
)
def test_a_prompter_that_says_nothing_is_found(answer, message):
    with pytest.raises(Violation, match=message):
        conformance.check_prompter(Says(answer))


def test_a_field_of_view_that_no_camera_has_is_found():
    with pytest.raises(Violation, match=r"Says: deg: 170\.0, wanted more than 10 and less than 150 degrees"):
        conformance.check_fov_estimator(Says(Fov(170.0, "a guess")))


class Says(Adapter):
    """Answers one thing, whatever it is asked."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, *_):
        return self.answer


@pytest.mark.parametrize(
    ("zdepth", "valid", "message"),
    [
        (torch.full((96, 128), torch.inf), torch.ones(96, 128, dtype=torch.bool), "zdepth of valid pixels: from inf"),
        (torch.ones(96, 128), torch.zeros(96, 128, dtype=torch.bool), "no pixel is valid, wanted some"),
        (torch.ones(128, 96), torch.ones(128, 96, dtype=torch.bool), r"zdepth: shape \[128, 96\], wanted \[96, 128\]"),
        (torch.ones(96, 128), torch.ones(96, 128), "valid: torch.float32, wanted torch.bool"),
    ],
)
def test_wrong_depths_are_found(zdepth, valid, message):
    with pytest.raises(Violation, match=message):
        conformance.check_depth_estimator(Says(ViewDepth(zdepth, valid)))


def test_invalid_pixels_may_hold_anything():
    valid = torch.ones(96, 128, dtype=torch.bool)
    valid[:40] = False
    conformance.check_depth_estimator(Says(ViewDepth(torch.where(valid, 2.0, torch.inf), valid)))


def test_a_panorama_without_distances_is_found():
    sky = torch.zeros(128, 256, dtype=torch.bool)
    with pytest.raises(Violation, match="distance: from 0 to 0, wanted finite and above 0"):
        conformance.check_panorama_depth(Says(DistanceMap(torch.zeros(128, 256), sky)))

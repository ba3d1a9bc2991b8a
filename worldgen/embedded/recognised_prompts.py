"""Prompts from what a small network recognises in a photo, without a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.embedded.efficientnet_lite import SIZE, EfficientNetLite0, load_network
from worldgen.embedded.scene_classes import NOWHERE, SCENE_CLASSES, WILD
from worldgen.errors import expect
from worldgen.models import assets
from worldgen.models.protocols import Prompter
from worldgen.types import Prompts

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime

_NAMED = 0.1  # the least probability of what is named
_MOST_NAMED = 2
_SURELY_WILD = 0.5  # the least of all wild animals together: they are so many that in noise there are some
_NOTHING_KNOWN = 0.05  # probability added to either side: of a picture in which nothing is recognised, both are likely
_MOST_PIECES = 8
_ROWS = 96  # of a thumbnail, whose colours shall not depend on the photo's resolution


class Reading(NamedTuple):
    """What a posterior over ImageNet's classes comes to. sure: how likely `indoor` is what it says; places, things: the
    names of what was recognised, and how likely each is, the likeliest first."""

    indoor: bool
    sure: float
    places: dict[str, float]
    things: dict[str, float]


class RecognisingPrompter(Prompter):
    """Fulfils Prompter: EfficientNet-Lite0 tells what a photo shows, `scene_classes` where such things are.

    The prompts name the place alone, if one is likely enough. What tells nothing is taken for a room. The network is
    loaded at the first call if nobody did before.

    style: only False; whoever asks for the medium is told who can name it.
    """

    _loaded: EfficientNetLite0 | None = None

    def __init__(self, style: bool = False) -> None:
        expect("prompts.style", style, not style, "false: no medium is recognised, prompts=vlm names it")

    def load(self, runtime: Runtime) -> None:
        """Onto the processor, whatever `runtime` says: it is asked once."""
        del runtime
        self._network()

    def release(self) -> None:
        """Frees the network's memory."""
        self._loaded = None

    def __call__(self, rgb: Tensor) -> Prompts:
        """rgb [3, H, W] in [0, 1], the photo."""
        return in_words(rgb, read(self._network()(pieces(rgb)).softmax(-1).mean(0)))

    def _network(self) -> EfficientNetLite0:
        if self._loaded is None:
            self._loaded = load_network(assets.fetch("efficientnet"))
        return self._loaded


def pieces(rgb: Tensor) -> Tensor:
    """A picture [3, H, W] as squares [N, 3, SIZE, SIZE], side by side along its longer side: about as many as
    it is times as long as wide, so the four views of a panorama come one by one."""
    height, width = rgb.shape[1:]
    count = min(_MOST_PIECES, round(max(height, width) / min(height, width)))
    parts = rgb.tensor_split(count, dim=2 if width > height else 1)
    return torch.cat([_resized(part, SIZE, SIZE) for part in parts]).clamp(0, 1)


def read(posterior: Tensor) -> Reading:
    """posterior [1000] over ImageNet's classes."""
    likely = posterior.tolist()
    inside = sum(likely[one.number] for one in SCENE_CLASSES if one.indoor)
    outside = sum(likely[one.number] for one in SCENE_CLASSES if not one.indoor)
    outdoors = (outside + _NOTHING_KNOWN) / (inside + outside + 2 * _NOTHING_KNOWN)
    indoor = outdoors <= 0.5
    places: dict[str, float] = {}
    things: dict[str, float] = {}
    for one in SCENE_CLASSES:
        things[one.name] = things.get(one.name, 0.0) + likely[one.number]
        if one.indoor == indoor and one.place != NOWHERE:
            places[one.place] = places.get(one.place, 0.0) + likely[one.number]
    if things.get(WILD, 0.0) < _SURELY_WILD:
        things.pop(WILD, None)
    return Reading(indoor, max(outdoors, 1 - outdoors), _likeliest(places), _likeliest(things))


def in_words(rgb: Tensor, reading: Reading) -> Prompts:
    """Prompts for a photo [3, H, W] in which that was read; light and colours are its own."""
    thumbnail = _thumbnail(rgb)
    luma = float((0.3 * thumbnail[0] + 0.59 * thumbnail[1] + 0.11 * thumbnail[2]).mean())
    light = "dark" if luma < 0.22 else "dim" if luma < 0.38 else "bright" if luma > 0.6 else "even"
    third = _ROWS // 3
    above, below = _colour_name(thumbnail[:, :third]), _colour_name(thumbnail[:, -third:])
    kind = "an indoor room" if reading.indoor else "an outdoor landscape"
    place = f"{kind}: {', '.join(reading.places)}," if reading.places else kind
    return Prompts(
        atmosphere=f"{place} in {light} light, wide empty view, no people, photograph",
        sky=f"{above} ceiling, plain" if reading.indoor else f"{above} sky, empty",
        ground=f"{below} floor, plain" if reading.indoor else f"{below} ground, open",
        indoor=reading.indoor,
        source=_source(reading),
    )


def _source(reading: Reading) -> str:
    by = "recognised by EfficientNet-Lite0: "
    if reading.things:
        said = by + _shares(reading.things)
    elif reading.places:
        said = f"{by}several things of one place, {_shares(reading.places)}"
    else:
        said = "EfficientNet-Lite0 recognised nothing that tells of a place"
    return f"{said}; {'indoor' if reading.indoor else 'outdoor'} ({reading.sure:.0%} sure)"


def _shares(likely: dict[str, float]) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in likely.items())


def _likeliest(likely: dict[str, float]) -> dict[str, float]:
    """Those few that are likely enough to be named."""
    first = sorted(likely.items(), key=lambda pair: -pair[1])[:_MOST_NAMED]
    return {name: share for name, share in first if share >= _NAMED}


def _resized(rgb: Tensor, height: int, width: int) -> Tensor:
    """[3, H, W] -> [1, 3, height, width]."""
    return F.interpolate(rgb[None], (height, width), mode="bilinear", antialias=True, align_corners=False)


def _thumbnail(rgb: Tensor) -> Tensor:
    """[3, 96, W]."""
    width = min(4 * _ROWS, max(_ROWS // 3, round(_ROWS * rgb.shape[2] / rgb.shape[1])))
    return _resized(rgb, _ROWS, width)[0].clamp(0, 1)


def _colour_name(rgb: Tensor) -> str:
    """One word for the mean colour of [3, H, W]."""
    red, green, blue = rgb.mean((1, 2)).tolist()
    low, high = min(red, green, blue), max(red, green, blue)
    if high - low <= 0.12 * high:
        return "dark" if high < 0.25 else "white" if high > 0.8 else "grey"
    if blue == high:
        return "purple" if red > green * 1.05 else "blue"
    if green == high:
        return "green"
    return "brown" if high < 0.6 else "yellow" if green > 0.85 * red else "orange"

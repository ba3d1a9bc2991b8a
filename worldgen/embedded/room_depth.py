"""Distances of a room: a plain room fitted to a network's merged distances, and what stands out of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from worldgen.embedded.outlines import follow_outlines
from worldgen.embedded.room import beyond, fit_lines, fit_room, follow_colours, without_specks
from worldgen.errors import expect
from worldgen.geometry.equirect import directions, sample
from worldgen.models.protocols import Composite, Lifetime, PanoramaDepth
from worldgen.progress import Track, untracked
from worldgen.types import DistanceMap, Panorama, Prompts

_ROWS = 256  # of the grid on which the room is fitted: a small network's detail is coarser than this
_BLOWN_OUT = 0.9  # mean colour of windows and lamps, which small networks take to be very near


@dataclass(frozen=True)
class RoomSettings:
    """How much a plain room may explain."""

    tolerance: float = 0.2  # relative difference to the network up to which floor, ceiling and walls are believed
    largest: float = 1.0  # log factor by which things may stand out of the room, either way

    def __post_init__(self) -> None:
        expect("depth.settings.tolerance", self.tolerance, 0 <= self.tolerance < 1, "0 or more and less than 1")
        expect("depth.settings.largest", self.largest, self.largest > 0, "more than 0")


class RoomDepth(Composite):
    """Fulfils PanoramaDepth indoors."""

    def __init__(self, network: PanoramaDepth, settings: RoomSettings | None = None) -> None:
        self.network = network
        self.settings = settings or RoomSettings()

    def parts(self) -> Sequence[Lifetime]:
        """The network that the room is fitted to."""
        return (self.network,)

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """The panorama's horizon has to be level. No sky is seen, not even through windows."""
        settings = self.settings
        answer = self.network(panorama, prompts, track)
        small = F.interpolate(answer.distance[None, None], (_ROWS, 2 * _ROWS), mode="area")[0, 0].numpy()
        rgb = F.interpolate(panorama.rgb[None], (_ROWS, 2 * _ROWS), mode="area")[0].numpy()
        trusted = rgb.mean(0) < _BLOWN_OUT
        believed = fit_room(small, settings.tolerance, trusted)
        excess = beyond(np.log(small / believed.distance(_ROWS)), settings.tolerance)
        excess[~trusted & (excess < 0)] = 0
        excess = without_specks(np.clip(excess, -settings.largest, settings.largest))
        excess = follow_colours(excess, rgb, 5, 0.07, 2)
        room = fit_lines(believed, panorama.rgb)
        height, width = answer.distance.shape
        factor = sample(torch.from_numpy(excess)[None].float(), directions(height, width))[0].exp()
        empty = room.distance_within(follow_outlines(room.walls_m, panorama.rgb.numpy()))
        return DistanceMap(torch.from_numpy(empty).float() * factor, answer.sky)

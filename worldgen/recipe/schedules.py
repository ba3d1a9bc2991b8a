"""Which direction of the panorama is filled when: pure data (paper, "Panorama synthesis").

Every heuristic but ad-hoc is a list of perspective views, filled in turn by one loop (recipe/panorama.py).
"""

from dataclasses import dataclass

from worldgen.types import PromptName


@dataclass(frozen=True)
class ViewSpec:
    """One view to fill. yaw > 0 turns right, pitch > 0 up; `prompt` names a field of Prompts."""

    yaw_deg: float
    pitch_deg: float
    fov_deg: float
    prompt: PromptName


@dataclass(frozen=True)
class Schedule:
    """The views in their order: first those that see a copy of the photo at the back, then those that do not."""

    with_anchor: tuple[ViewSpec, ...]
    without_anchor: tuple[ViewSpec, ...]


def _both_ways(step_deg: float) -> tuple[float, ...]:
    """Right and left by turns until both meet at the back: 45, -45, 90, -90, 135, -135, 180."""
    count = round(180 / step_deg)
    return (*(side * i * step_deg for i in range(1, count) for side in (1, -1)), 180.0)


def _sky_and_ground(yaws_deg: tuple[float, ...]) -> tuple[ViewSpec, ...]:
    sky = tuple(ViewSpec(yaw, 45.0, 120.0, "sky") for yaw in yaws_deg)
    return sky + tuple(ViewSpec(yaw, -45.0, 120.0, "ground") for yaw in yaws_deg)


HORIZON = tuple(ViewSpec(yaw, 0.0, 85.0, "atmosphere") for yaw in (0.0, *_both_ways(45.0)))
"""Eight views of 85 degrees. The first looks straight at the photo and fills what its frame leaves above and below."""

ANCHORED = Schedule(with_anchor=_sky_and_ground((0.0, 180.0)), without_anchor=HORIZON + _sky_and_ground((90.0, -90.0)))
"""Sky and ground first, in front and at the back, between the photo and its copy; then round; then the sides."""

SEQUENTIAL = Schedule(with_anchor=(), without_anchor=HORIZON + _sky_and_ground((0.0, 90.0, -90.0, 180.0)))
"""Round the horizon first, then sky and ground."""

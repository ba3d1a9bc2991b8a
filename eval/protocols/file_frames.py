"""In which coordinates other methods' splats are: `methods.<name>.axes`, `.scale` and `.origin`.

A point p of the file becomes scale * R @ (p - origin) in our world: metres, OpenCV axes (x right, y down, z forward),
the origin where the photo was taken, +z where it looks.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from worldgen.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# The rows of R: where our x (right), y (down) and z (forward) point in the file's coordinates.
AXES: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "opencv": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),  # x right, y down, z forward: 3DGS, COLMAP, ours
    "opengl": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),  # x right, y up, z backward
    "y_up": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),  # x left, y up, z forward: glTF's scenes
    "z_up": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),  # x right, y forward, z up: nerfstudio's and Blender's scenes
}
_KEYS = ("axes", "scale", "origin")


@dataclass(frozen=True)
class FileFrame:
    """axes: a name in AXES; scale: metres in a unit of the file; origin: [3], where the photo was taken, in the file's
    own axes and unit."""

    axes: str = "opencv"
    scale: float = 1.0
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        return f"axes {self.axes} scale {self.scale:.17g} origin {' '.join(f'{value:.17g}' for value in self.origin)}"

    @property
    def keeps_axes(self) -> bool:
        """Whether points are moved at most."""
        return self.axes == "opencv" and self.scale == 1

    @property
    def rotation(self) -> "Tensor":
        """R [3, 3], float64."""
        import torch

        return torch.tensor(AXES[self.axes], dtype=torch.float64)


OURS = FileFrame()


def take_frames(arguments: Sequence[str]) -> tuple[dict[str, FileFrame], list[str]]:
    """The frames that `methods.<name>.axes=` and the like tell, by method, and the other arguments.

    Raises UserError for values that are none.
    """
    found: dict[str, dict[str, Any]] = {}
    others: list[str] = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        method, _, setting = key.removeprefix("methods.").rpartition(".")
        if not key.startswith("methods.") or setting not in _KEYS or not method:
            others.append(argument)
            continue
        if setting in found.setdefault(method, {}):
            raise UserError(f"{key}: given twice, wanted it once")
        found[method][setting] = {"axes": _axes, "scale": _scale, "origin": _origin}[setting](key, value)
    return {method: FileFrame(**settings) for method, settings in found.items()}, others


def expect_methods(frames: Mapping[str, FileFrame], methods: Collection[str]) -> None:
    """Raises UserError where a frame is told of a method that is not named."""
    for method in frames:
        if method not in methods:
            raise UserError(
                f"methods.{method}: none, wanted methods.{method}=<path> beside its .axes, .scale or .origin"
            )


def frame_record(frame: FileFrame) -> dict[str, Any]:
    """For evaluation.json; nothing of our own."""
    return {} if frame == OURS else {"world": asdict(frame) | {"origin": list(frame.origin)}}


def _axes(key: str, value: str) -> str:
    if value not in AXES:
        raise UserError(f"{key}: {value or 'nothing'}, wanted one of {', '.join(AXES)}")
    return value


def _scale(key: str, value: str) -> float:
    number = _numbers(value)
    if len(number) != 1 or not 1e-6 <= number[0] <= 1e6:
        raise UserError(f"{key}: {value or 'nothing'}, wanted metres in a unit of the file, 1e-6 to 1e6")
    return number[0]


def _origin(key: str, value: str) -> tuple[float, float, float]:
    numbers = _numbers(value)
    if len(numbers) != 3:
        raise UserError(f"{key}: {value or 'nothing'}, wanted [x,y,z] in the file's axes and unit")
    return numbers[0], numbers[1], numbers[2]


def _numbers(value: str) -> list[float]:
    """One number, or a list of them; empty where it is anything else."""
    text = value.strip()
    parts = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []

"""Posed pictures with a distance for every pixel that is known: what pairs (`pairs.py`) are warped from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from worldgen.errors import UserError
from worldgen.types import Camera, View


class MeasuredScene(Protocol):
    """Square pictures of one world, read one by one as they are asked for, and held by nobody here."""

    @property
    def name(self) -> str:
        """Of the scene, for a person."""
        ...

    @property
    def prompt(self) -> str:
        """What its pictures show; "" where nobody says."""
        ...

    @property
    def one_place(self) -> bool:
        """Whether all of its cameras stand at one place, so that no two of them have parallax."""
        ...

    def cameras(self) -> Sequence[Camera]:
        """Of all pictures, before they are cut to a square. Raises UserError where the scene cannot be read."""
        ...

    def place(self, number: int) -> str:
        """Of a picture, for a person: its file, where it has one."""
        ...

    def view(self, number: int, size: int) -> View:
        """A picture, size x size pixels, with distances; `known` where they are. Raises UserError, naming the file,
        for whatever of it cannot be used."""
        ...


def squared(view: View, where: str, size: int) -> View:
    """The middle of a view, size x size pixels, with its camera. Raises UserError where the view is smaller."""
    camera = view.camera
    if min(camera.width, camera.height) < size:
        raise UserError(f"{where}: {camera.width}x{camera.height} pixels, wanted {size}x{size} at least (data.size)")
    left, top = (camera.width - size) // 2, (camera.height - size) // 2
    rows, columns = slice(top, top + size), slice(left, left + size)
    middle = replace(camera, width=size, height=size, cx=camera.cx - left, cy=camera.cy - top)
    distance = view.measured[rows, columns].contiguous()
    return View(middle, view.rgb[:, rows, columns].contiguous(), view.known[rows, columns].contiguous(), distance)


def usable(view: View, where: str) -> View:
    """A view whose distances are 0 outside `known`. Raises UserError where a known one is NaN or not above 0, or none
    is known."""
    known = view.known & view.measured.isfinite()
    broken = int((view.known & view.measured.isnan()).sum())
    if broken:
        raise UserError(f"{where}: {broken} distances are NaN, wanted none (0 = not known)")
    negative = int((known & (view.measured < 0)).sum())
    if negative:
        raise UserError(f"{where}: {negative} distances are below 0, wanted none (0 = not known)")
    known &= view.measured > 0
    if not known.any():
        raise UserError(f"{where}: no distance is known, wanted some above 0")
    return replace(view, known=known, distance=view.measured.where(known, torch.zeros(())))

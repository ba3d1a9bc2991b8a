"""Parts of a long sequence, each posed in a world and a unit of its own, in one world: neighbours share frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldgen.types import PosedDepth, ViewDepth


@dataclass(frozen=True, eq=False)
class Similarity:
    """xyz -> scale * rotation @ xyz + shift. rotation: [3, 3], shift: [3], both float64."""

    scale: float
    rotation: Tensor
    shift: Tensor

    def moved(self, frame: PosedDepth) -> PosedDepth:
        """A frame in the world that this leads to."""
        c2w = frame.camera.c2w.double().clone()
        c2w[:3, :3] = self.rotation @ c2w[:3, :3]
        c2w[:3, 3] = self.scale * self.rotation @ c2w[:3, 3] + self.shift
        depth = ViewDepth(frame.depth.zdepth * self.scale, frame.depth.valid)
        return PosedDepth(replace(frame.camera, c2w=c2w.float()), depth, frame.sure)


@dataclass(frozen=True)
class Joint:
    """How well two parts agree in the frames that they share, at worst. turn_deg: between the two rotations of one
    frame; shift: between its two places, relative to the median depth of what it sees; depth: the median relative
    difference of what they see."""

    turn_deg: float
    shift: float
    depth: float


def parts(count: int, at_once: int, shared: int) -> Iterator[range]:
    """Which of `count` frames each part has: `at_once` at most, of which the first `shared` are the last of the part
    before. Wanted: at_once > shared >= 2: one frame always agrees with itself."""
    begin = 0
    while True:
        end = min(begin + at_once, count)
        yield range(begin, end)
        if end == count:
            return
        begin = end - shared


def joined(wanted: Sequence[PosedDepth], found: Sequence[PosedDepth]) -> tuple[Similarity, Joint]:
    """What leads from the world of `found` to that of `wanted`, the same frames in both, and how well.

    The unit by the median over pixels, whose depths both know; the rotation by the mean of the frames' (chordal: the
    rotation nearest to their sum), the shift by that of their places. Frames that stand at one place do as well.
    Raises ValueError where no pixel's depth is known to both.
    """
    ratios = [_ratios(*pair) for pair in zip(wanted, found, strict=True)]
    if not sum(map(len, ratios)):
        raise ValueError("joined: no pixel whose depth both know")
    every = torch.cat(ratios)
    scale = float(every.median())
    poses = [(one.camera.c2w.double(), other.camera.c2w.double()) for one, other in zip(wanted, found, strict=True)]
    u, _, vh = torch.linalg.svd(torch.stack([one[:3, :3] @ other[:3, :3].T for one, other in poses]).sum(0))
    u[:, 2] *= torch.linalg.det(u @ vh)  # no mirror image
    rotation = u @ vh
    shift = torch.stack([one[:3, 3] - scale * rotation @ other[:3, 3] for one, other in poses]).mean(0)
    leads = Similarity(scale, rotation, shift)
    off = float((every / scale - 1).abs().median())
    return leads, _joint(wanted, [leads.moved(each) for each in found], off)


def _ratios(wanted: PosedDepth, found: PosedDepth) -> Tensor:
    """[n], of the depths of pixels that both know, the surer half of them."""
    both = wanted.depth.valid & found.depth.valid
    if not bool(both.any()):
        return torch.empty(0, dtype=torch.float64)
    both &= found.sure >= found.sure[both].median()
    return (wanted.depth.zdepth[both].double() / found.depth.zdepth[both].double()).flatten()


def _joint(wanted: Sequence[PosedDepth], moved: Sequence[PosedDepth], depth: float) -> Joint:
    turns, shifts = [], []
    for one, other in zip(wanted, moved, strict=True):
        turn = one.camera.c2w[:3, :3].double().T @ other.camera.c2w[:3, :3].double()
        turns.append(float(torch.rad2deg(torch.arccos(((turn.trace() - 1) / 2).clamp(-1, 1)))))
        gap = (one.camera.position - other.camera.position).norm()
        if bool(one.depth.valid.any()):
            shifts.append(float(gap / one.depth.zdepth[one.depth.valid].median()))
    return Joint(max(turns), max(shifts, default=0.0), depth)

"""A strip all round the horizon, quilted from mirrored and shifted copies of one photo.

Rotating a level photo about the vertical axis keeps its horizon, ground and perspective right, so copies of it may
stand anywhere round the viewer. Which copy comes next and where it is cut follows image quilting (Efros and Freeman,
2001): the copy whose best vertical cut through the overlap shows least.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_MONOTONY = 0.06  # price, in squared colour difference, of a copy that adds nothing
_GRID = 256  # columns of the coarse panorama on which copies and cuts are chosen


@dataclass(frozen=True)
class _Copy:
    """Where a copy of the photo begins, in grid columns, and whether it is mirrored."""

    start: int
    mirrored: bool


@dataclass(frozen=True, eq=False)
class _Source:
    """The photo on the grid.

    features: [2, C, R, N], as it is and mirrored; valid: bool [2, R, N]; row, column: where it begins.
    """

    features: Tensor
    valid: Tensor
    row: int
    column: int

    @property
    def width(self) -> int:
        return self.valid.shape[-1]


@dataclass(frozen=True, eq=False)
class Ring:
    """rgb: [3, H, W], the photo and its copies; copy: [H, W], which one, 0 = the photo, -1 = none."""

    rgb: Tensor
    copy: Tensor


def quilt_ring(rgb: Tensor, photo: Tensor) -> Ring:
    """Continues the photo, bool [H, W] on a panorama [3, H, W], round the horizon; the photo's pixels stay."""
    source = _source(rgb, photo)
    copies, cuts = _plan(source)
    return _render(rgb, photo, source, copies, cuts)


def _source(rgb: Tensor, photo: Tensor) -> _Source:
    size = (_GRID // 2, _GRID)
    share = F.interpolate(photo[None, None].float(), size, mode="area")[0]
    colour = F.interpolate((rgb * photo)[None], size, mode="area")[0] / share.clamp(min=1e-6)
    valid = share[0] > 0.5
    rows, columns = valid.any(1).nonzero()[:, 0], valid.any(0).nonzero()[:, 0]
    part = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    colour, valid = colour[:, *part], valid[part]
    steep = F.pad((colour[:, :, 1:] - colour[:, :, :-1]).abs(), (0, 1))  # looks the same mirrored
    upright = F.pad(colour[:, 1:] - colour[:, :-1], (0, 0, 0, 1))
    features = torch.cat([colour, 1.5 * steep, 1.5 * upright])
    both = torch.stack([features, features.flip(-1)]), torch.stack([valid, valid.flip(-1)])
    return _Source(*both, int(rows[0]), int(columns[0]))


def _plan(source: _Source) -> tuple[list[_Copy], list[Tensor]]:
    """Copies from the photo round to the photo again, and the cuts between them, [R] grid columns each.

    Right and left of the photo take turns, then one copy bridges what is left at the back.
    """
    width = source.width
    overlap = max(2, min(_GRID // 14, width // 4))
    photo = _Copy(source.column, False)
    right, left, right_cuts, left_cuts = [photo], [photo], [], []
    while True:
        open_columns = left[-1].start + _GRID - (right[-1].start + width)
        if open_columns <= width - 2 * overlap - width // 16:
            break
        least = max(1, min(width * 3 // 10, open_columns))
        if len(right) <= len(left):
            end = right[-1].start + width
            window = (end - _reach(right, overlap), end)
            starts = range(end - width + least, min(window[0], end - width + max(least, open_columns)) + 1)
            found, cut = _best(source, _candidates(starts), [(right[-1], window, len(right) == 1)])
            right.append(found)
            right_cuts += cut
        else:
            begin = left[-1].start
            window = (begin, begin + _reach(left, overlap))
            starts = range(max(window[1] - width, begin - max(least, open_columns)), begin - least + 1)
            found, cut = _best(source, _candidates(starts), [(left[-1], window, len(left) == 1)])
            left.append(found)
            left_cuts += cut
    end, begin = right[-1].start + width, left[-1].start + _GRID
    window, other = (end - _reach(right, overlap), end), (begin, begin + _reach(left, overlap))
    sides = [(right[-1], window, len(right) == 1), (_Copy(begin, left[-1].mirrored), other, len(left) == 1)]
    bridge, cut = _best(source, _candidates(range(other[1] - width, window[0] + 1)), sides)
    left_cuts = [c + _GRID for c in reversed(left_cuts)]
    back = [_Copy(c.start + _GRID, c.mirrored) for c in reversed(left)]
    return [*right, bridge, *back], [*right_cuts, *cut, *left_cuts]


def _reach(side: list[_Copy], overlap: int) -> int:
    """How far a cut may go into the last copy: the photo itself is cut at its border only."""
    return overlap if len(side) > 1 else 2


def _candidates(starts: range) -> list[_Copy]:
    return [_Copy(start, mirrored) for mirrored in (False, True) for start in starts]


def _best(
    source: _Source, candidates: list[_Copy], sides: list[tuple[_Copy, tuple[int, int], bool]]
) -> tuple[_Copy, list[Tensor]]:
    """The candidate that fits its neighbours best, and the cut [R] to each of them.

    sides: (neighbour, window of columns for the cut, whether the neighbour is the photo, which must stay whole).
    """
    total, paths = torch.tensor([_few_pieces(source, copy, sides[0]) for copy in candidates]), []
    for neighbour, window, whole in sides:
        misfit = _misfit(source, neighbour, candidates, window)
        if whole:
            total = total + misfit.mean((1, 2))
            edge = window[1] if window[1] == neighbour.start + source.width else window[0]
            paths.append(torch.full(misfit.shape[:2], float(edge)))
        else:
            cost, path = _cut(misfit)
            total = total + cost
            paths.append(path.float() + window[0] + 0.5)
    best = int(total.argmin())
    return candidates[best], [path[best] for path in paths]


def _few_pieces(source: _Source, copy: _Copy, side: tuple[_Copy, tuple[int, int], bool]) -> float:
    """A small price for a copy that lies mostly on top of its neighbour: more cuts, the same thing again and again."""
    return _MONOTONY * (1 - min(1.0, abs(copy.start - side[0].start) / source.width))


def _misfit(source: _Source, neighbour: _Copy, candidates: list[_Copy], window: tuple[int, int]) -> Tensor:
    """[candidates, R, window]: how much a cut at each place would show."""

    def part(copy: _Copy) -> tuple[Tensor, Tensor]:
        columns = slice(window[0] - copy.start, window[1] - copy.start)
        return source.features[int(copy.mirrored), ..., columns], source.valid[int(copy.mirrored), :, columns]

    here, here_valid = part(neighbour)
    there, there_valid = (torch.stack(parts) for parts in zip(*map(part, candidates), strict=True))
    misfit = (there - here).square().sum(1)
    misfit = torch.where(there_valid & here_valid, misfit, 0.02)
    return misfit + torch.stack([_repetition(source, neighbour, copy, window) for copy in candidates])[:, None]


def _repetition(source: _Source, neighbour: _Copy, copy: _Copy, window: tuple[int, int]) -> Tensor:
    """[window]: a cut near a mirror's axis, or to a copy hardly shifted, shows nothing, and everybody sees it."""
    degree = _GRID / 360
    if copy.mirrored == neighbour.mirrored:
        return torch.full(
            (window[1] - window[0],), 0.3 * math.exp(-(((copy.start - neighbour.start) / 15 / degree) ** 2))
        )
    axis = (neighbour.start + copy.start + source.width) / 2
    return 0.3 * torch.exp(-(((torch.arange(*window) + 0.5 - axis) / (8 * degree)) ** 2))


def _cut(misfit: Tensor) -> tuple[Tensor, Tensor]:
    """The cheapest top-to-bottom path, moving at most one column a row: mean cost [N] and columns [N, R]."""
    reached, came_from = misfit[:, 0], []
    for row in range(1, misfit.shape[1]):
        padded = F.pad(reached, (1, 1), value=float("inf"))
        best, step = torch.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]]).min(0)
        came_from.append(step - 1)
        reached = best + misfit[:, row]
    cost, column = reached.min(1)
    path = [column]
    for step in reversed(came_from):
        path.append(path[-1] + step.gather(1, path[-1][:, None])[:, 0])
    return cost / misfit.shape[1], torch.stack(path[::-1], dim=1)


def _render(rgb: Tensor, photo: Tensor, source: _Source, copies: list[_Copy], cuts: list[Tensor]) -> Ring:
    height, width = photo.shape
    scale = width / _GRID
    edges = [_full_height(cut, source.row, height) * scale for cut in cuts]
    columns = torch.arange(width) + 0.5
    out, which = rgb * photo, torch.where(photo, 0, -1)
    for index, copy in enumerate(copies[1:-1]):
        left, right = edges[index][:, None], edges[index + 1][:, None]
        mine = (_wrapped(columns - (left + right) / 2, width).abs() <= (right - left) / 2) & (which < 0)
        shifted, valid = _placed(rgb, photo, source, copy, scale)
        mine &= valid
        out, which = torch.where(mine, shifted, out), torch.where(mine, index + 1, which)
    return Ring(out, which)


def _placed(rgb: Tensor, photo: Tensor, source: _Source, copy: _Copy, scale: float) -> tuple[Tensor, Tensor]:
    if not copy.mirrored:
        shift = round((copy.start - source.column) * scale)
        return rgb.roll(shift, -1), photo.roll(shift, -1)
    shift = round((copy.start + source.column + source.width - _GRID) * scale)
    return rgb.flip(-1).roll(shift, -1), photo.flip(-1).roll(shift, -1)


def _full_height(cut: Tensor, row: int, height: int) -> Tensor:
    below = _GRID // 2 - row - len(cut)
    tall = torch.cat([cut[:1].expand(row), cut, cut[-1:].expand(below)])
    return F.interpolate(tall[None, None], height, mode="linear")[0, 0]


def _wrapped(columns: Tensor, width: int) -> Tensor:
    """Signed column differences, the short way round."""
    return (columns + width / 2) % width - width / 2

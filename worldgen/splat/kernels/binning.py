"""Numba kernels that sort splats by depth and deal them out to the tiles of the image.

One stable radix sort over all splats, then a stable counting sort into tiles: each tile's list is in depth order, and
equal depths keep the order of the Gaussians, on every machine. One compilation unit, see options.py.
"""

import numpy as np
from numba import njit

from worldgen.splat.kernels.options import EXACT, SERIAL

_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS


@njit(**SERIAL)
def depth_order(depth_bits):
    """Stable ascending order of positive float32 depths, given as their bits (uint32 [V]); int32 [V]."""
    count = len(depth_bits)
    order = np.arange(count).astype(np.int32)
    sorted_order = np.empty(count, np.int32)
    for shift in range(0, 32, _DIGIT_BITS):
        starts = np.zeros(_DIGITS + 1, np.int64)
        for k in range(count):
            starts[((depth_bits[k] >> shift) & (_DIGITS - 1)) + 1] += 1
        for digit in range(_DIGITS):
            starts[digit + 1] += starts[digit]
        for rank in range(count):
            k = order[rank]
            digit = (depth_bits[k] >> shift) & (_DIGITS - 1)
            sorted_order[starts[digit]] = k
            starts[digit] += 1
        order, sorted_order = sorted_order, order
    return order


@njit(**EXACT)
def _tile_range(first, last, tile_bits):
    """Range of the tiles that the pixels first..last touch; empty if last < first. A tile is 2^tile_bits pixels wide:
    divisions by a number that the compiler does not know were a third of the time."""
    return range(first >> tile_bits, (last >> tile_bits) + 1)


@njit(**SERIAL)
def deal_to_tiles(boxes, order, tile_bits, tiles_x, tiles_y):
    """Which splats each tile has to draw, front to back.

    Returns tile_starts int64 [T + 1]; pair_splats int32 [P], the splats of tile t at tile_starts[t]:tile_starts[t + 1];
    pair_slots int32 [P], where the pair's gradient goes; slot_starts int64 [V + 1]: splat k owns the slots
    slot_starts[k]:slot_starts[k + 1], so that no two tiles ever write to one place.
    """
    count = len(boxes)
    tile_starts = np.zeros(tiles_x * tiles_y + 1, np.int64)
    slot_starts = np.zeros(count + 1, np.int64)
    for k in range(count):
        slot_starts[k + 1] = slot_starts[k]
        for tile_y in _tile_range(boxes[k, 2], boxes[k, 3], tile_bits):
            for tile_x in _tile_range(boxes[k, 0], boxes[k, 1], tile_bits):
                tile_starts[tile_y * tiles_x + tile_x + 1] += 1
                slot_starts[k + 1] += 1
    for tile in range(tiles_x * tiles_y):
        tile_starts[tile + 1] += tile_starts[tile]

    pair_splats = np.empty(slot_starts[count], np.int32)
    pair_slots = np.empty(slot_starts[count], np.int32)
    free = tile_starts[:-1].copy()
    for k in order:
        slot = slot_starts[k]
        for tile_y in _tile_range(boxes[k, 2], boxes[k, 3], tile_bits):
            for tile_x in _tile_range(boxes[k, 0], boxes[k, 1], tile_bits):
                tile = tile_y * tiles_x + tile_x
                pair_splats[free[tile]] = k
                pair_slots[free[tile]] = slot
                free[tile] += 1
                slot += 1
    return tile_starts, pair_splats, pair_slots, slot_starts

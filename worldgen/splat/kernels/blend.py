"""Numba kernels that blend splats into the image, front to back, and the gradient of that.

An image is cut into tiles of 32 x 32 pixels, a tile into 64 blocks of 4 x 4, which the compiler works off in vector
registers. A splat visits only the blocks that its ellipse touches: the bits of one number, which the gradient finds
again. The rules are gsplat's: alpha = min(0.999, opacity
falloff), nothing below 1/255, stop before the splat that would take the transmittance to 1e-4.

The loops over a block's sixteen lanes must become vector instructions. Numba loses that silently: when a loop holds a
reduction, or indexes with `base + lane` instead of a slice. tests/test_rasterize.py looks for the vector instructions.
One compilation unit, see options.py.
"""

import math

import numpy as np
from numba import njit, prange
from numba.cpython.unsafe.numbers import trailing_zeros

from worldgen.splat.kernels.options import ADDING, FAST, FAST_PARALLEL

TILE_BITS = 5
TILE = 1 << TILE_BITS
_SIDE = 4  # pixels of a block's edge
_PER_ROW = TILE // _SIDE
_BLOCKS = _PER_ROW * _PER_ROW
_LANES = _SIDE * _SIDE
_FORWARD_STATE = 5 * _LANES  # transmittance, red, green, blue, z-depth
_BACKWARD_STATE = 6 * _LANES  # transmittance, what is still to come, gradients of red, green, blue, z-depth
SUMS, COLOUR_SUMS = 12, 9
"""How many sums a splat's gradient takes, and how many of them where only the colours have gradients."""
_SWEEP = 16  # after how many splats a tile looks for blocks that need no more

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_SLACK, _SLACK_PX = np.float32(1e-4), np.float32(0.05)  # far more than rounding moves an ellipse's edge by
_MAX_ALPHA = np.float32(0.999)
_MIN_TRANSMITTANCE = np.float32(1e-4)
_MIN_EXPONENT = np.float32(np.log(1 / 255) / np.log(256))
_BIT, _ALL_BLOCKS = np.uint64(1), np.uint64(2**_BLOCKS - 1)


def _fit_power() -> list[np.float32]:
    """Coefficients of a polynomial for 2^x on [-1, 0]: Chebyshev nodes, relative error below 2e-7."""
    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2 - 0.5
    fit = np.polynomial.Polynomial.fit(nodes, 2.0**nodes, 6, domain=[-1, 0], window=[-1, 0])
    return [np.float32(c) for c in fit.coef]


_LANE_X = np.array([lane % _SIDE for lane in range(_LANES)], np.float32)
_LANE_Y = np.array([lane // _SIDE for lane in range(_LANES)], np.float32)
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = _fit_power()


@njit(**FAST)
def _power256(x):
    """256^x for x in [-1, 0]; meaningless, but never trapping, outside."""
    root = (((((_P6 * x + _P5) * x + _P4) * x + _P3) * x + _P2) * x + _P1) * x + _P0
    square = root * root
    fourth = square * square
    return fourth * fourth


@njit(**FAST)
def _corner(splat, x, y):
    """(u, v) of the pixel (x, y)."""
    dx = np.float32(x) + _HALF - splat[0]
    dy = np.float32(y) + _HALF - splat[1]
    return splat[2] * (dx - splat[3] * dy), splat[4] * dy


@njit(**FAST)
def _touched_blocks(splat, tile_x, tile_y):
    """The blocks that the splat's ellipse touches in the tile at pixel (tile_x, tile_y), as bits. What is left out has
    no pixel that counts.

    All rows of blocks at once, so that the compiler vectorises it: it costs as much as a block or two.
    """
    squared = splat[5] - _MIN_EXPONENT + _SLACK
    radius, lean, down = math.sqrt(squared), splat[2] * splat[3], splat[4]
    half_height, per_across, shear = radius / down, _ONE / splat[2], splat[3]
    tip = lean * radius / (down * math.sqrt(lean * lean + down * down))  # how far below the centre it is farthest right
    centre, start = splat[0] - _HALF - np.float32(tile_x), np.float32(tile_y) + _HALF - splat[1]
    touched = np.uint64(0)
    for row in range(_PER_ROW):
        top = start + np.float32(row * _SIDE)
        bottom = top + np.float32(_SIDE - 1)
        low = min(max(-tip, top), bottom)
        high = min(max(tip, top), bottom)
        v_low, v_high = down * low, down * high
        left = centre + shear * low - math.sqrt(max(squared - v_low * v_low, _ZERO)) * per_across - _SLACK_PX
        right = centre + shear * high + math.sqrt(max(squared - v_high * v_high, _ZERO)) * per_across + _SLACK_PX
        left = min(max(left, _ZERO), np.float32(TILE))
        right = min(right, np.float32(TILE - 1)) + np.float32(_SIDE)
        right = max(_ZERO if (top > half_height) | (bottom < -half_height) else right, left)
        first, beyond = np.uint64(np.int64(left) // _SIDE), np.uint64(np.int64(right) // _SIDE)
        touched |= ((_BIT << beyond) - (_BIT << first)) << np.uint64(row * _PER_ROW)
    return touched


@njit(**FAST)
def _blend_block(block, splat, x, y):
    """Blends one splat into the block at pixel (x, y). A finished pixel keeps its transmittance with a minus sign."""
    u, v = _corner(splat, x, y)
    across, skew, down, opacity = splat[2], -splat[2] * splat[3], splat[4], splat[5]
    red, green, blue, zdepth = splat[6], splat[7], splat[8], splat[9]
    for lane in range(_LANES):
        lu = u + across * _LANE_X[lane] + skew * _LANE_Y[lane]
        lv = v + down * _LANE_Y[lane]
        exponent = opacity - lu * lu - lv * lv
        alpha = min(_power256(exponent), _MAX_ALPHA)
        alpha = alpha if exponent >= _MIN_EXPONENT else _ZERO
        light = block[lane]
        left = light - light * alpha
        stop = left <= _MIN_TRANSMITTANCE
        weight = _ZERO if stop else light * alpha
        block[lane] = -abs(light) if stop else left
        block[_LANES + lane] += weight * red
        block[2 * _LANES + lane] += weight * green
        block[3 * _LANES + lane] += weight * blue
        block[4 * _LANES + lane] += weight * zdepth


@njit(**FAST)
def _take_turn(turn, tiles_x, tiles_y):
    """Tile and its corner pixel. Columns come one after the other: numba gives every thread a run of turns, and the
    left and the right of a picture are more alike than its sky and its ground."""
    x, y = turn // tiles_y, turn % tiles_y
    return y * tiles_x + x, x * TILE, y * TILE


@njit(**FAST)
def _start_light(state, size, tile_x, tile_y, width, height):
    """Transmittance 1 in the image, finished (-1) beyond its edge."""
    for b in range(_BLOCKS):
        x, y = tile_x + b % _PER_ROW * _SIDE, tile_y + b // _PER_ROW * _SIDE
        for lane in range(_LANES):
            seen = x + lane % _SIDE < width and y + lane // _SIDE < height
            state[b * size + lane] = _ONE if seen else -_ONE


@njit(**FAST)
def _first_block(blocks):
    """The lowest of some blocks, and the others."""
    return np.int64(trailing_zeros(blocks)), blocks & (blocks - _BIT)


@njit(**FAST)
def _still_lit(state, blocks):
    """Those of some blocks through which any light still comes."""
    lit, others = blocks, blocks
    while others:
        b, others = _first_block(others)
        start = b * _FORWARD_STATE
        lane = start
        while lane < start + _LANES and state[lane] <= _ZERO:  # most stop at the first
            lane += 1
        if lane == start + _LANES:
            lit ^= _BIT << np.uint64(b)
    return lit


@njit(**FAST)
def _blend_tile(first, last, pair_splats, splats, state, tile_x, tile_y, pair_blocks):
    """Blends the pairs first:last into `state`, and notes which blocks each of them visits; returns the pair after the
    last one that was looked at."""
    lit = _ALL_BLOCKS
    for pair in range(first, last):
        if (pair - first) % _SWEEP == _SWEEP - 1:
            lit = _still_lit(state, lit)
            if not lit:
                return pair
        splat = splats[pair_splats[pair]]
        blocks = _touched_blocks(splat, tile_x, tile_y) & lit
        pair_blocks[pair] = blocks
        while blocks:
            b, blocks = _first_block(blocks)
            block = state[b * _FORWARD_STATE : (b + 1) * _FORWARD_STATE]
            _blend_block(block, splat, tile_x + b % _PER_ROW * _SIDE, tile_y + b // _PER_ROW * _SIDE)
    return last


@njit(**FAST)
def _write_tile(state, tile_x, tile_y, background, rgb, alpha, zdepth):
    height, width = alpha.shape
    for b in range(_BLOCKS):
        x, y = tile_x + b % _PER_ROW * _SIDE, tile_y + b // _PER_ROW * _SIDE
        for row in range(min(_SIDE, height - y)):
            for column in range(min(_SIDE, width - x)):
                lane = b * _FORWARD_STATE + row * _SIDE + column
                light = abs(state[lane])
                for channel in range(3):
                    colour = state[lane + (1 + channel) * _LANES]
                    rgb[channel, y + row, x + column] = colour + light * background[channel]
                zdepth[y + row, x + column] = state[lane + 4 * _LANES]
                alpha[y + row, x + column] = _ONE - light


@njit(**FAST_PARALLEL)
def blend(tile_starts, pair_splats, splats, tiles_x, background, rgb, alpha, zdepth, tile_ends, pair_blocks):
    """Draws all tiles into rgb [3, H, W], alpha [H, W], zdepth [H, W].

    Writes tile_ends [T]: where each tile was full; pair_blocks uint64 [P], up to there: the blocks that were visited.
    """
    height, width = alpha.shape
    for turn in prange(len(tile_ends)):
        tile, tile_x, tile_y = _take_turn(turn, tiles_x, len(tile_ends) // tiles_x)
        state = np.zeros(_BLOCKS * _FORWARD_STATE, np.float32)
        _start_light(state, _FORWARD_STATE, tile_x, tile_y, width, height)
        tile_ends[tile] = _blend_tile(
            tile_starts[tile], tile_starts[tile + 1], pair_splats, splats, state, tile_x, tile_y, pair_blocks
        )
        _write_tile(state, tile_x, tile_y, background, rgb, alpha, zdepth)


@njit(**FAST)
def _blend_block_backward(block, sums, splat, x, y, everything):
    """Adds one block's share to the splat's sums [12 x 16]; unless `everything`, to those of the colours alone.

    With q = gradient . colour of a splat, the loss changes with ln(alpha) by g = weight q - alpha / (1 - alpha) times
    the sum of weight q over all that comes behind, background included. That sum starts as the whole and shrinks as
    we walk front to back.
    """
    u, v = _corner(splat, x, y)
    across, skew, down, opacity = splat[2], -splat[2] * splat[3], splat[4], splat[5]
    red, green, blue, zdepth = splat[6], splat[7], splat[8], splat[9]
    for lane in range(_LANES):
        lu = u + across * _LANE_X[lane] + skew * _LANE_Y[lane]
        lv = v + down * _LANE_Y[lane]
        exponent = opacity - lu * lu - lv * lv
        free_alpha = _power256(exponent)
        alpha = min(free_alpha, _MAX_ALPHA)
        alpha = alpha if exponent >= _MIN_EXPONENT else _ZERO
        light = block[lane]
        left = light - light * alpha
        stop = left <= _MIN_TRANSMITTANCE
        alpha = _ZERO if stop else alpha
        weight = light * alpha
        block[lane] = -abs(light) if stop else left
        v_red, v_green, v_blue = block[2 * _LANES + lane], block[3 * _LANES + lane], block[4 * _LANES + lane]
        own = weight * (v_red * red + v_green * green + v_blue * blue)
        if everything:
            v_zdepth = block[5 * _LANES + lane]
            own += weight * v_zdepth * zdepth
            sums[9 * _LANES + lane] += weight * v_zdepth
        behind = block[_LANES + lane] - own
        block[_LANES + lane] = behind
        g = own - alpha * behind / (_ONE - alpha)
        g = _ZERO if free_alpha > _MAX_ALPHA else g
        gu, gv = g * lu, g * lv
        sums[lane] += gu
        sums[_LANES + lane] += gv
        sums[2 * _LANES + lane] += gu * lu
        sums[3 * _LANES + lane] += gu * lv
        sums[4 * _LANES + lane] += gv * lv
        sums[5 * _LANES + lane] += g
        sums[6 * _LANES + lane] += weight * v_red
        sums[7 * _LANES + lane] += weight * v_green
        sums[8 * _LANES + lane] += weight * v_blue
        if everything:
            sums[10 * _LANES + lane] += abs(across * gu)
            sums[11 * _LANES + lane] += abs(skew * gu + down * gv)


@njit(**ADDING)
def _total(lanes):
    total = _ZERO
    for lane in range(len(lanes)):  # a number here, and the loop is unrolled before it can become vector instructions
        total += lanes[lane]
    return total


@njit(**FAST)
def _blend_tile_backward(
    first, last, pair_splats, pair_blocks, pair_slots, splats, state, tile_x, tile_y, everything, slots
):
    sums = state[_BLOCKS * _BACKWARD_STATE :]
    count = SUMS if everything else COLOUR_SUMS
    for pair in range(first, last):
        splat, slot, blocks = splats[pair_splats[pair]], slots[pair_slots[pair]], pair_blocks[pair]
        if not blocks:
            slot[:] = _ZERO
            continue
        for at in range(count * _LANES):
            sums[at] = _ZERO
        while blocks:
            b, blocks = _first_block(blocks)
            block = state[b * _BACKWARD_STATE : (b + 1) * _BACKWARD_STATE]
            x, y = tile_x + b % _PER_ROW * _SIDE, tile_y + b // _PER_ROW * _SIDE
            _blend_block_backward(block, sums, splat, x, y, everything)
        for s in range(count):
            slot[s] = _total(sums[s * _LANES : (s + 1) * _LANES])


@njit(**FAST)
def _read_tile(state, tile_x, tile_y, rgb, alpha, zdepth, v_rgb, v_alpha, v_zdepth, everything):
    """What is to come (the loss's share of the whole pixel) and the gradients of the images."""
    height, width = alpha.shape
    for b in range(_BLOCKS):
        x, y = tile_x + b % _PER_ROW * _SIDE, tile_y + b // _PER_ROW * _SIDE
        for row in range(min(_SIDE, height - y)):
            for column in range(min(_SIDE, width - x)):
                lane = b * _BACKWARD_STATE + row * _SIDE + column
                at_y, at_x = y + row, x + column
                whole = _ZERO
                if everything:
                    v_z = v_zdepth[at_y, at_x]
                    whole = v_z * zdepth[at_y, at_x] - v_alpha[at_y, at_x] * (_ONE - alpha[at_y, at_x])
                    state[lane + 5 * _LANES] = v_z
                for channel in range(3):
                    whole += v_rgb[channel, at_y, at_x] * rgb[channel, at_y, at_x]
                    state[lane + (2 + channel) * _LANES] = v_rgb[channel, at_y, at_x]
                state[lane + _LANES] = whole


@njit(**FAST_PARALLEL)
def blend_backward(
    tile_starts, tile_ends, pair_splats, pair_blocks, pair_slots, splats, tiles_x,
    rgb, alpha, zdepth, v_rgb, v_alpha, v_zdepth, slots,
):  # fmt: skip
    """Fills slots with the gradients of each splat in each tile; what they hold: see project_backward. [P, 12] take
    them all, [P, 9] those of the colours: v_alpha and v_zdepth are not looked at then.

    rgb, alpha, zdepth: what `blend` drew. v_*: the gradients of the loss with respect to them.
    """
    height, width = rgb.shape[1:]
    for turn in prange(len(tile_ends)):
        tile, tile_x, tile_y = _take_turn(turn, tiles_x, len(tile_ends) // tiles_x)
        state = np.zeros(_BLOCKS * _BACKWARD_STATE + SUMS * _LANES, np.float32)
        _start_light(state, _BACKWARD_STATE, tile_x, tile_y, width, height)
        first, full, last = tile_starts[tile], tile_ends[tile], tile_starts[tile + 1]
        images = rgb, alpha, zdepth, v_rgb, v_alpha, v_zdepth
        pairs = first, full, pair_splats, pair_blocks, pair_slots, splats
        # Each of the two with a constant, so that the compiler makes loops of its own for it.
        if slots.shape[1] == SUMS:
            _read_tile(state, tile_x, tile_y, *images, True)
            _blend_tile_backward(*pairs, state, tile_x, tile_y, True, slots)
        else:
            _read_tile(state, tile_x, tile_y, *images, False)
            _blend_tile_backward(*pairs, state, tile_x, tile_y, False, slots)
        for pair in range(full, last):
            slots[pair_slots[pair]] = _ZERO

"""Rays through a scene of boxes with pictures on their faces, on the CPU, in numba.

A scene is a shell round the origin and boxes in it, each turned about the vertical. The shell is a room, or the ground
below a dome. Rays are independent: the result does not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

SOLID = 8
"""A box's numbers: centre x, y, z; half its size along its own x, y, z; cosine and sine of its turn."""
FACES = 6
"""Of a box, and of a room: towards -x, +x, -y, +y, -z, +z."""
PANORAMA = -1
"""In place of a picture's number: the face shows the panorama, which is read elsewhere."""
GAZE = 0.02  # cosine to a face below which its texels count as no finer


@njit(parallel=True, cache=True, error_model="numpy")
def trace_boxes(origin, rays, solids, radius, pictures, texel_m, shades, levels, starts, side, pixel_rad, rgb, faces):
    """Distances [N] along unit rays [N, 3]; writes colours rgb [N, 3] and the faces that were hit, faces int32 [N].

    solids: [S, SOLID], the first is the shell; radius: of the dome, metres, 0 = the shell is a room; pictures: int
    [S * FACES], texel_m, shades: float32 of the same length: which picture a face shows, metres of a texel, and how
    bright it is; levels: [T, 3], pictures of side x side texels and each half as fine as the one before, which begin at
    starts [L + 1]; pixel_rad: the angle between rays. What shows the panorama keeps its colours.
    """
    count = len(rays)
    distances = np.empty(count, np.float32)
    for chunk in prange(64):
        spot = np.empty(3, np.float32)
        for i in range(count * chunk // 64, count * (chunk + 1) // 64):
            distance, face = _shell(origin, rays[i], solids[0], radius)
            for number in range(1, len(solids)):
                near, side_hit = _enter(origin, rays[i], solids[number])
                if 0 < near < distance:
                    distance, face = near, number * FACES + side_hit
            distances[i], faces[i] = distance, face
            if pictures[face] == PANORAMA:
                continue
            _local(origin, rays[i], distance, solids[face // FACES], spot)
            axis = face % FACES // 2
            across, down = spot[2 if axis == 0 else 0], spot[2 if axis == 1 else 1]
            gaze = max(_along(rays[i], solids[face // FACES], axis), np.float32(GAZE))
            texel = texel_m[face]
            fine = np.log2(max(distance * pixel_rad / (np.sqrt(gaze) * texel), np.float32(1)))
            level = min(int(fine + np.float32(0.5)), len(starts) - 2)
            _read(levels, starts, level, side, pictures[face], across / texel, down / texel, rgb[i])
            for channel in range(3):
                rgb[i, channel] *= shades[face]
    return distances


@njit(inline="always")
def _shell(origin, ray, solid, radius):
    """How far it is to the shell, and the face of it; the dome's is that of the ground's room that it stands in for."""
    if radius > 0:
        b = origin[0] * ray[0] + origin[1] * ray[1] + origin[2] * ray[2]
        c = origin[0] * origin[0] + origin[1] * origin[1] + origin[2] * origin[2] - radius * radius
        distance, face = np.sqrt(b * b - c) - b, 2
        if ray[1] > 0 and (solid[1] + solid[4] - origin[1]) < distance * ray[1]:
            distance, face = (solid[1] + solid[4] - origin[1]) / ray[1], 3
        return distance, face
    distance, face = np.float32(np.inf), 0
    for axis in range(3):
        step = ray[axis]
        if step != 0:
            wall = solid[axis] + (solid[3 + axis] if step > 0 else -solid[3 + axis])
            here = (wall - origin[axis]) / step
            if here < distance:
                distance, face = here, 2 * axis + (1 if step > 0 else 0)
    return distance, face


@njit(inline="always")
def _turned(x, z, solid):
    """From the world's axes into a box's own."""
    return solid[6] * x - solid[7] * z, solid[7] * x + solid[6] * z


@njit(inline="always")
def _enter(origin, ray, solid):
    """How far it is to a box, and the face of it; 0 where the ray misses it, or begins within."""
    x, z = _turned(origin[0] - solid[0], origin[2] - solid[2], solid)
    to_x, to_z = _turned(ray[0], ray[2], solid)
    start, step = (x, origin[1] - solid[1], z), (to_x, ray[1], to_z)
    enter, leave, face = np.float32(-np.inf), np.float32(np.inf), 0
    for axis in range(3):
        along = step[axis] if abs(step[axis]) > np.float32(1e-9) else np.float32(1e-9)
        half = solid[3 + axis] if along > 0 else -solid[3 + axis]
        first = (-half - start[axis]) / along
        if first > enter:
            enter, face = first, 2 * axis + (0 if along > 0 else 1)
        leave = min(leave, (half - start[axis]) / along)
    return (enter, face) if enter < leave else (np.float32(0), 0)


@njit(inline="always")
def _local(origin, ray, distance, solid, spot):
    """Writes where a ray is at `distance`, from a box's centre along its own axes."""
    x, z = origin[0] + distance * ray[0] - solid[0], origin[2] + distance * ray[2] - solid[2]
    spot[0], spot[2] = _turned(x, z, solid)
    spot[1] = origin[1] + distance * ray[1] - solid[1]


@njit(inline="always")
def _along(ray, solid, axis):
    """Cosine between a ray and a box's axis, without its sign."""
    x, z = _turned(ray[0], ray[2], solid)
    return abs((x, ray[1], z)[axis])


@njit(inline="always")
def _read(levels, starts, level, side, picture, x, y, out):
    """Bilinear, at (x, y) texels of the finest level from the picture's middle; beyond its border it is mirrored."""
    size = side >> level
    x = x / (1 << level) + np.float32(0.5) * size - np.float32(0.5)
    y = y / (1 << level) + np.float32(0.5) * size - np.float32(0.5)
    column, row = int(np.floor(x)), int(np.floor(y))
    right, lower = x - np.float32(column), y - np.float32(row)
    first = starts[level] + picture * size * size
    upper_row, lower_row = first + _mirrored(row, size) * size, first + _mirrored(row + 1, size) * size
    near, far = _mirrored(column, size), _mirrored(column + 1, size)
    for channel in range(3):
        above = levels[upper_row + near, channel] * (1 - right) + levels[upper_row + far, channel] * right
        below = levels[lower_row + near, channel] * (1 - right) + levels[lower_row + far, channel] * right
        out[channel] = above * (1 - lower) + below * lower


@njit(inline="always")
def _mirrored(index, size):
    """The texel that stands for one beyond the border."""
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index

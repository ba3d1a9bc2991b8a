"""Pictures of a room's materials, tileable, made by rule: sharp edges, and detail at every size as photos have it."""

from functools import cache

import cv2
import numpy as np

TEXELS = 512
TILE_M = 2.048
"""Every picture is TEXELS x TEXELS and covers TILE_M x TILE_M metres."""

MATERIALS = ("planks", "bricks", "posters", "books", "stone", "boards", "crate", "mosaic")

_INK = (0.12, 0.1, 0.1)
_WORDS = (
    "The",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "box",
    "2026",
)


@cache
def material(name: str) -> np.ndarray:
    """float32 [TEXELS, TEXELS, 3] in [0, 1] of one of MATERIALS; the same every time. Shared: do not write to it."""
    generator = np.random.default_rng(MATERIALS.index(name))
    return np.clip(_MAKERS[name](generator), 0.02, 0.98).astype(np.float32)


def _planks(generator: np.random.Generator) -> np.ndarray:
    """Floor boards, 16 across, two lengths each, with grain."""
    cells = _Cells(generator, rows=16, columns=2, stagger=0.37)
    grain = _clouds(generator, 1.0, stretch=(1.0, 14.0))
    tone = 1 + 0.16 * cells.values() + 0.13 * grain + 0.05 * _clouds(generator, 0.6)
    return _paint((0.56, 0.38, 0.23), tone) * _groove(cells.edge, 1.6, 0.35)


def _bricks(generator: np.random.Generator) -> np.ndarray:
    cells = _Cells(generator, rows=24, columns=8, stagger=0.5)
    rough = _clouds(generator, 0.9)
    hues = np.stack([0.06 * cells.values() for _ in range(3)], axis=-1)
    brick = _paint((0.58, 0.31, 0.23), 1 + 0.16 * cells.values() + 0.16 * rough) + hues
    mortar = _paint((0.7, 0.66, 0.6), 1 + 0.1 * _clouds(generator, 0.8))
    worn = cells.edge + 0.8 * _clouds(generator, 1.2)
    return np.where(_soft(worn, 2.2)[..., None] > 0.5, brick * _groove(worn - 2.2, 1.5, 0.75), mortar)


def _posters(generator: np.random.Generator) -> np.ndarray:
    """Plaster with framed pictures and printed sheets on it."""
    wall = _paint((0.74, 0.7, 0.58), 1 + 0.06 * _clouds(generator, 1.4) + 0.05 * _clouds(generator, 0.5))
    for row, column, height, width in (
        (40, 24, 150, 120),
        (60, 180, 110, 140),
        (30, 356, 180, 128),
        (300, 40, 170, 120),
    ):
        _hang(wall, row, column, _landscape(generator, height, width))
    for row, column, height, width in ((220, 200, 190, 130), (260, 360, 200, 124)):
        _hang(wall, row, column, _printed(generator, height, width))
    return wall


def _books(generator: np.random.Generator) -> np.ndarray:
    """Six shelves of books."""
    picture = _paint((0.16, 0.11, 0.08), 1 + 0.2 * _clouds(generator, 1.0))
    pitch = TEXELS // 6
    for shelf in range(6):
        top, bottom, x = shelf * pitch, (shelf + 1) * pitch - 6, 2
        while x < TEXELS - 14:
            width, height = int(generator.integers(5, 15)), int(generator.integers(50, pitch - 12))
            colour = generator.uniform(0.1, 0.8, 3) * generator.uniform(0.5, 1)
            spine = np.broadcast_to(colour, (height, width, 3)).copy()
            for band in generator.integers(3, height - 3, 3):
                spine[band : band + int(generator.integers(1, 4)), 1:-1] = generator.uniform(0.3, 0.9)
            spine *= (0.65 + 0.35 * np.sin(np.linspace(0.3, np.pi - 0.3, width)))[None, :, None]
            picture[bottom - height : bottom, x : x + width] = spine
            x += width + int(generator.random() < 0.15) * int(generator.integers(4, 16))
        picture[bottom : top + pitch] = (0.5, 0.36, 0.22)
    return picture * (1 + 0.1 * _clouds(generator, 0.7))[..., None]


def _stone(generator: np.random.Generator) -> np.ndarray:
    cells = _Cells(generator, rows=6, columns=4, stagger=0.5)
    tone = 1 + 0.1 * cells.values() + 0.16 * _clouds(generator, 1.1) + 0.08 * _clouds(generator, 0.3)
    return _paint((0.62, 0.58, 0.52), tone) * _groove(cells.edge + 1.2 * _clouds(generator, 1.2), 2.5, 0.4)


def _boards(generator: np.random.Generator) -> np.ndarray:
    """A ceiling of painted panels with mouldings."""
    cells = _Cells(generator, rows=4, columns=4)
    ridge = 1 + 0.16 * np.sin(cells.edge / 2.2) * np.exp(-cells.edge / 14)
    tone = ridge * (1 + 0.04 * cells.values() + 0.07 * _clouds(generator, 1.2) + 0.05 * _clouds(generator, 0.5))
    return _paint((0.78, 0.76, 0.7), tone) * _groove(cells.edge, 1.5, 0.45)


def _crate(generator: np.random.Generator) -> np.ndarray:
    """Rough boards with nails and stencilled letters."""
    cells = _Cells(generator, rows=12, columns=1)
    grain = _clouds(generator, 1.0, stretch=(1.0, 9.0))
    picture = _paint((0.64, 0.5, 0.32), 1 + 0.15 * cells.values() + 0.15 * grain) * _groove(cells.edge, 2.0, 0.25)
    for row in range(12):
        for column in range(32, TEXELS, 64):
            cv2.circle(picture, (column, row * TEXELS // 12 + 20), 3, (0.2, 0.18, 0.17), -1)
    for row in range(96, TEXELS, 150):
        text = " ".join(generator.choice(_WORDS, 4)).upper()
        _print(picture, text, (14, row), 1.1, 4)
    return picture * (1 + 0.05 * _clouds(generator, 0.5))[..., None]


def _mosaic(generator: np.random.Generator) -> np.ndarray:
    """Small tiles in three colours, in a pattern of diamonds."""
    cells = _Cells(generator, rows=40, columns=40)
    step = np.arange(TEXELS) * 40 // TEXELS
    diamond = (np.abs(step % 10 - 5)[:, None] + np.abs(step % 10 - 5)[None]) % 5
    palette = np.array([[0.75, 0.68, 0.55], [0.45, 0.2, 0.16], [0.2, 0.3, 0.36], [0.7, 0.55, 0.3], [0.3, 0.33, 0.25]])
    tone = 1 + 0.14 * cells.values() + 0.1 * _clouds(generator, 0.9)
    return palette[diamond] * tone[..., None] * _groove(cells.edge, 1.4, 0.55)


_MAKERS = {
    "planks": _planks,
    "bricks": _bricks,
    "posters": _posters,
    "books": _books,
    "stone": _stone,
    "boards": _boards,
    "crate": _crate,
    "mosaic": _mosaic,
}


class _Cells:
    """The picture in rows of equal cells, each row shifted by `stagger` cells more than the one above.

    edge: [TEXELS, TEXELS], texels to the nearest edge of a pixel's cell.
    """

    def __init__(self, generator: np.random.Generator, rows: int, columns: int, stagger: float = 0.0) -> None:
        self._generator = generator
        y, x = np.mgrid[:TEXELS, :TEXELS] + 0.5
        height, width = TEXELS / rows, TEXELS / columns
        self._row = (y / height).astype(int)
        along = x / width + stagger * self._row
        self._column = along.astype(int) % columns
        self._shape = (rows, columns)
        across, down = along % 1, y / height % 1
        self.edge = np.minimum(np.minimum(across, 1 - across) * width, np.minimum(down, 1 - down) * height)

    def values(self) -> np.ndarray:
        """[TEXELS, TEXELS]: normal deviates, the same all over a cell."""
        return self._generator.standard_normal(self._shape)[self._row, self._column]


def _clouds(generator: np.random.Generator, falloff: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """[TEXELS, TEXELS], tileable noise of deviation 1 whose amplitude falls as frequency^-falloff."""
    fy = np.fft.fftfreq(TEXELS)[:, None] * TEXELS * stretch[0]
    fx = np.fft.rfftfreq(TEXELS)[None] * TEXELS * stretch[1]
    spectrum = np.fft.rfft2(generator.standard_normal((TEXELS, TEXELS)))
    noise = np.fft.irfft2(spectrum / np.hypot(fy, fx).clip(2) ** falloff)
    noise -= noise.mean()
    return noise / noise.std()


def _paint(colour: tuple[float, float, float], tone: np.ndarray) -> np.ndarray:
    """A colour at every brightness of tone [H, W]; float64 [H, W, 3]."""
    return np.array(colour) * tone[..., None]


def _soft(values: np.ndarray, limit: float) -> np.ndarray:
    return (values - limit + 0.5).clip(0, 1)


def _groove(edge: np.ndarray, width: float, darkest: float) -> np.ndarray:
    """[H, W, 1]: `darkest` at a cell's edge, 1 from `width` texels on."""
    return (darkest + (1 - darkest) * (edge / width).clip(0, 1))[..., None]


def _hang(wall: np.ndarray, row: int, column: int, sheet: np.ndarray) -> None:
    """Lays a sheet on the wall, with a shadow below it."""
    height, width, _ = sheet.shape
    wall[row + 5 : row + height + 5, column + 4 : column + width + 4] *= 0.6
    wall[row : row + height, column : column + width] = sheet


def _landscape(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A framed picture of hills under a sky."""
    relief = _clouds(generator, 1.0)[:height, :width]
    y = np.arange(height)[:, None] / height
    sky = np.array([0.55, 0.68, 0.8]) * (1.1 - 0.3 * y + 0.06 * relief)[..., None]
    picture = sky
    for level in range(4):
        ridge = 0.35 + 0.14 * level + 0.05 * np.cumsum(generator.standard_normal(width)) / np.sqrt(width) * 2
        hill = (
            generator.uniform([0.15, 0.22, 0.1], [0.5, 0.45, 0.3])
            * (1 + 0.2 * _clouds(generator, 0.7)[:height, :width])[..., None]
        )
        picture = np.where((y > ridge[None])[..., None], hill, picture)
    frame = np.minimum.outer(_inset(height), _inset(width))
    picture[frame < 8] = np.array([0.4, 0.28, 0.12]) * (0.7 + 0.08 * frame[frame < 8])[:, None]
    return picture


def _printed(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A sheet of text under a headline."""
    sheet = _paint((0.9, 0.88, 0.82), 1 + 0.03 * _clouds(generator, 0.8)[:height, :width])
    _print(sheet, str(generator.choice(_WORDS)).upper(), (8, 26), 0.8, 2)
    for row in range(44, height - 6, 13):
        _print(sheet, " ".join(generator.choice(_WORDS, 3)), (8, row), 0.34, 1)
    return sheet


def _print(picture: np.ndarray, text: str, start: tuple[int, int], size: float, weight: int) -> None:
    """Writes on the picture, from `start` (x, y) on."""
    ink = np.zeros(picture.shape[:2], np.uint8)
    cv2.putText(ink, text, start, cv2.FONT_HERSHEY_SIMPLEX, size, 255, weight, cv2.LINE_AA)
    picture += (ink / 255)[..., None] * (np.array(_INK) - picture)


def _inset(length: int) -> np.ndarray:
    """Texels to the nearer end."""
    index = np.arange(length)
    return np.minimum(index, length - 1 - index)

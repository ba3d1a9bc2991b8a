"""Which way is which in the files that viewers open, each read in two ways: red right, green above, blue ahead, metres.

Of world.sog in test_sog.py, of collision.glb in test_meshes.py, of world_vr.html in test_headset.py.
"""

import gzip
import time
from pathlib import Path

import gsply
import numpy as np
import plyfile
import pytest

from tests.browser import CHROME, browser
from tests.known_cubes import COLOURS, cubes, expect_cubes
from tests.test_export import unpacked
from worldgen.io.gaussians import write_ply, write_spz
from worldgen.present.scene_html import scene_html
from worldgen.splat.harmonics import SH_C0


def test_ply(tmp_path):
    path = tmp_path / "a.ply"
    write_ply(path, cubes())
    rows = plyfile.PlyData.read(path)["vertex"]
    expect_cubes(
        *(np.stack([rows[f"{name}"] for name in names], 1) for names in ("xyz", [f"f_dc_{i}" for i in range(3)]))
    )
    theirs = gsply.plyread(path)
    expect_cubes(theirs.means, theirs.sh0)


def test_spz(tmp_path):
    path = tmp_path / "a.spz"
    write_spz(path, cubes())
    theirs = gsply.read_spz(path)
    expect_cubes(theirs.means, theirs.sh0)
    expect_cubes(*by_the_letter(path))


def by_the_letter(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions and constant harmonics of a version 2 or 3 .spz, as Niantic's description of the format has them."""
    content = gzip.decompress(path.read_bytes())
    assert content[:4] == b"NGSP"
    assert int.from_bytes(content[4:8], "little") in (2, 3)
    count, fractional_bits = int.from_bytes(content[8:12], "little"), content[13]
    end = 16 + 9 * count
    triples = np.frombuffer(content[16:end], np.uint8).reshape(count, 3, 3).astype(np.int32)
    fixed = triples[..., 0] | triples[..., 1] << 8 | triples[..., 2] << 16
    fixed = np.where(fixed >= 1 << 23, fixed - (1 << 24), fixed)
    colours = np.frombuffer(content[end + count : end + 4 * count], np.uint8).reshape(count, 3)
    return fixed / 2.0**fractional_bits, (colours / 255 - 0.5) / 0.15


def test_html():
    """viser's layout: see test_export.py. Up is -y, the camera at the origin looks along z."""
    _, buffers = unpacked(scene_html(cubes(), "cubes", 10_000))
    count = len(cubes())
    (rows,) = [np.frombuffer(buffer, np.uint8).reshape(-1, 32) for buffer in buffers if len(buffer) == count * 32]
    expect_cubes(rows[:, :12].copy().view(np.float32), (rows[:, 28:31] / 255 - 0.5) / SH_C0)


@pytest.mark.slow
@pytest.mark.skipif(CHROME is None, reason="no Chrome or Chromium")
def test_html_in_a_browser(tmp_path):
    """Two metres ahead a metre aside is 157 pixels of a window 400 high; viser's notices leave these places free."""
    places = {"blue": (200, 200), "red": (350, 200), "green": (285, 60)}
    page_path = tmp_path / "world.html"
    page_path.write_text(scene_html(cubes(in_view=True), "cubes", 10_000), encoding="utf-8")
    with browser(tmp_path, 400, 400) as page:
        page.open(page_path.as_uri())
        page.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        deadline = time.monotonic() + 60
        while True:
            picture = page.picture() / 255
            off = {name: np.abs(picture[y, x] - COLOURS[name]).max() for name, (x, y) in places.items()}
            if max(off.values()) < 0.06 or time.monotonic() > deadline:
                break
            time.sleep(0.3)
    assert max(off.values()) < 0.06, off

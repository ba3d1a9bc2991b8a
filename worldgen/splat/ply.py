"""Binary .ply files with one table, `vertex`: what splats and point clouds are exchanged as."""

import re
from pathlib import Path
from typing import NoReturn

import numpy as np

from worldgen.errors import UserError

_HEADER_LIMIT_BYTES = 1 << 16
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}


def write_vertices(path: Path, vertices: np.ndarray) -> None:
    """A structured array to a binary .ply with one element, `vertex`."""
    kinds = {"<f4": "float", "|u1": "uchar"}
    properties = [f"property {kinds[vertices.dtype[name].str]} {name}" for name in vertices.dtype.names]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}", *properties, "end_header"]
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        vertices.tofile(file)


def read_vertices(path: Path) -> np.ndarray:
    """The `vertex` element of a binary .ply, structured; nothing is allocated before the file is seen to hold it."""
    try:
        with path.open("rb") as file:
            beginning = file.read(_HEADER_LIMIT_BYTES)
        if re.search(rb"\nformat (ascii|binary_big_endian) ", beginning):
            return _read_other(path)
        count, layout, start = _read_header(path, beginning)
        held = (path.stat().st_size - start) // layout.itemsize
        if count > held:
            raise UserError(f"{path}: its header promises {count} vertices, the file holds {held}")
        return np.fromfile(path, layout, count, offset=start)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), wanted a .ply file") from error


def _read_other(path: Path) -> np.ndarray:
    from plyfile import PlyData, PlyParseError

    try:
        return PlyData.read(str(path))["vertex"].data
    except (PlyParseError, ValueError, KeyError, MemoryError) as error:
        raise UserError(f"{path}: not a .ply file that can be read ({error})") from error


def _read_header(path: Path, beginning: bytes) -> tuple[int, np.dtype, int]:
    """Vertex count, vertex layout, and where the vertices begin."""

    def fail(found: str) -> NoReturn:
        raise UserError(f"{path}: {found}, wanted a binary little endian .ply whose first element is `vertex`")

    end = re.search(rb"\nend_header\r?\n", beginning)
    if not beginning.startswith(b"ply") or end is None:
        fail("no .ply header")
    lines = [line.split() for line in beginning[: end.start()].decode("ascii", "replace").splitlines()]
    words = [line for line in lines[1:] if line and line[0] not in ("comment", "obj_info")]
    if len(words) < 2 or words[0][:2] != ["format", "binary_little_endian"]:
        fail(f"its header says {' '.join(words[0]) if words else 'nothing'!r}")
    if len(words[1]) != 3 or words[1][:2] != ["element", "vertex"] or not words[1][2].isdigit():
        fail(f"its header says {' '.join(words[1])!r}")
    fields = []
    for line in words[2:]:
        if line[0] == "element":
            break
        if len(line) != 3 or line[0] != "property" or line[1] not in _TYPES:
            fail(f"its header says {' '.join(line)!r}")
        fields.append((line[2], _TYPES[line[1]]))
    if not fields or len({name for name, _ in fields}) != len(fields):
        fail("a vertex has no properties, or one twice")
    return int(words[1][2]), np.dtype(fields), end.end()

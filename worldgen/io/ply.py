"""The table `vertex` of .ply files, which splats and points are exchanged as: binary of either byte order, or text.

plyfile reads the header, text and lists; fixed rows, which all splats are, numpy reads at once. By itself plyfile
refuses headers with comments that are not ASCII, reads what stands behind the vertices too (a mesh's faces, one by
one), and of text and lists makes room for whatever number of rows a header promises.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from plyfile import PlyData, PlyElement, PlyListProperty, PlyParseError

from worldgen.errors import UserError

_HEADER_LIMIT_BYTES = 1 << 16
_WANTED = "wanted a .ply with an element `vertex`, binary or text"
_TEXT_VALUE_BYTES = 2  # at least: a digit, and what parts it from the next one


@dataclass(frozen=True, eq=False)
class _Header:
    """data: its elements up to `vertex`, without rows; counts: how many rows of each it promises; size: bytes of the
    header in the file; content: the header again, of these elements alone, as plyfile reads it."""

    data: PlyData
    counts: dict[str, int]
    size: int
    content: bytes

    @property
    def vertex(self) -> PlyElement:
        return self.data["vertex"]

    def least_bytes(self, element: PlyElement) -> int:
        """What one row of an element takes in the file, at least."""
        if self.data.text:
            return _TEXT_VALUE_BYTES * len(element.properties)
        kinds = [p.len_dtype if isinstance(p, PlyListProperty) else p.val_dtype for p in element.properties]
        return sum(np.dtype(kind).itemsize for kind in kinds)


def write_vertices(path: Path, vertices: np.ndarray) -> None:
    """A structured array to a binary .ply with one element, `vertex`."""
    kinds = {"<f4": "float", "|u1": "uchar"}
    properties = [f"property {kinds[vertices.dtype[name].str]} {name}" for name in vertices.dtype.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}", *properties, "end_header"]
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        file.write(vertices.tobytes())  # not tofile, whose errors do not say that the disk is full


def read_vertices(path: Path) -> np.ndarray:
    """The `vertex` element of a .ply, structured, in the machine's byte order.

    Nothing is allocated before the file is seen to be large enough for what its header promises. Raises UserError for
    files that are none.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(path, file.read(_HEADER_LIMIT_BYTES))
            size = path.stat().st_size
            _expect_held(path, header, size - header.size)
            file.seek(header.size)
            vertices = _rows(file, header)
        return vertices.astype(vertices.dtype.newbyteorder("="), copy=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), wanted a .ply file") from error
    except (PlyParseError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: broken ({_one_line(error)}), {_WANTED}") from error


def _rows(file: io.BufferedReader, header: _Header) -> np.ndarray:
    """The vertices, from where the file stands: behind its header."""
    if header.data.text or any(isinstance(p, PlyListProperty) for element in header.data for p in element.properties):
        return PlyData.read(io.BytesIO(header.content + file.read()))["vertex"].data
    before = sum(header.counts[element.name] * header.least_bytes(element) for element in header.data.elements[:-1])
    order = header.data.byte_order
    return np.fromfile(file, header.vertex.dtype(order), header.counts["vertex"], offset=before)


def _read_header(path: Path, beginning: bytes) -> _Header:
    def fail(found: str) -> NoReturn:
        raise UserError(f"{path}: {found}, {_WANTED}")

    newline = re.match(rb"ply[ \t]*(\r\n|\n|\r)", beginning)
    end = re.search(rb"[\r\n]end_header[ \t]*" + newline[1], beginning) if newline else None
    if newline is None or end is None:
        fail("no .ply header")
    lines = beginning[: end.start()].decode("ascii", "replace").splitlines()
    words = [
        line.split() for line in lines if line.split()[:1] and line.split()[0] in ("format", "element", "property")
    ]
    kept, counts = ["ply"], dict[str, int]()
    for line in words:
        if line[0] == "element":
            if "vertex" in counts:
                break
            if len(line) != 3 or not line[2].isdecimal() or line[1] in counts:
                fail(f"its header says {' '.join(line)!r}")
            counts[line[1]] = int(line[2])
        kept.append(" ".join(line))
    if "vertex" not in counts:
        fail("no element `vertex`")
    content = "\n".join([*kept, "end_header", ""]).encode("ascii", "replace")
    try:
        data = PlyData.read(io.BytesIO(re.sub(rb"(?m)^(element \S+) \d+$", rb"\1 0", content)))
    except (PlyParseError, ValueError) as error:
        fail(f"its header is broken ({_one_line(error)})")
    if not data["vertex"].properties:
        fail("its vertices have no properties")
    return _Header(data, counts, end.end(), content)


def _expect_held(path: Path, header: _Header, held_bytes: int) -> None:
    """Raises UserError where what the header promises cannot be in the file."""
    left = held_bytes + header.data.text  # the last line of a text may lack its end
    for element in header.data:
        least, promised = header.least_bytes(element), header.counts[element.name]
        if least * promised > left:
            what = "vertices" if element.name == "vertex" else f"rows of {element.name}"
            raise UserError(
                f"{path}: its header promises {promised} {what}, the file holds {left // least}"
                f"{' at most' * header.data.text}, wanted all of them"
            )
        left -= least * promised


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

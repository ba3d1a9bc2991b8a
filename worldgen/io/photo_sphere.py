"""Is a photo a 360-degree panorama? What its XMP data say of that (GPano, Google's Photo Sphere metadata).

Heading, pitch and roll are those of the picture's centre; the heading is a compass's, and turns nothing here.
"""

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from worldgen.errors import UserError

_log = logging.getLogger("worldgen")
_GPANO = "{http://ns.google.com/photos/1.0/panorama/}"
_LONGEST_XMP_BYTES = 1 << 22
_TOLERANCE = 0.005  # of the width: sizes are rounded when a panorama is reduced
_LEAST_WIDTH_PX = 2000  # of a photo that may be a panorama and does not say so
AUTO, GIVEN = "auto", "given"  # choices of panorama.heuristic


@dataclass(frozen=True)
class Sphere:
    """What XMP tells of a panorama. projection: in small letters. part: what the picture shows of the sphere, where
    that is not all. pitch_deg: how far above the horizon its centre lies; roll_deg: how far its camera leaned to the
    right, clockwise as the photographer sees it."""

    projection: str
    part: str = ""
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True)
class Shape:
    """width, height: of the upright picture, pixels. sphere: None where it does not say that it is a panorama."""

    width: int
    height: int
    sphere: Sphere | None

    @property
    def may_be_sphere(self) -> bool:
        """Whether a picture that says nothing of it has the shape of a 360-degree panorama."""
        return self.width == 2 * self.height and self.width >= _LEAST_WIDTH_PX


def read_sphere(image: Image.Image, path: Path) -> Sphere | None:
    """None where the picture's XMP data say nothing of a panorama."""
    xmp = image.info.get("xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    if b"panorama/" not in xmp or len(xmp) > _LONGEST_XMP_BYTES:
        return None
    try:
        tags = _gpano_tags(xmp)
    except ElementTree.ParseError as error:
        _log.warning("%s: its XMP data are broken (%s) and left out", path, error)
        return None
    projection = tags.get("ProjectionType", "").strip().lower()
    if not projection:
        return None
    pitch_deg, roll_deg = (_number(tags, f"Pose{name}Degrees") or 0.0 for name in ("Pitch", "Roll"))
    return Sphere(projection, _part(tags), pitch_deg, roll_deg)


def heuristic_for(path: Path, shape: Shape, chosen: str, tell: Callable[[str], None]) -> str:
    """What `panorama.heuristic`, chosen by the user, comes to for a photo: `auto` is `given` where the photo says that
    it is a whole 360-degree panorama, and `anchored` for others. tell: is told, in one line, what was found.

    Raises UserError for a part of a sphere, which cannot be taken for the whole, nor for a photo.
    """
    sphere = shape.sphere if shape.sphere and shape.sphere.projection == "equirectangular" else None
    if chosen == GIVEN:
        _expect_whole(path, shape, sphere, "wanted a whole 360-degree panorama, twice as wide as high")
        return chosen
    if sphere is None:
        if shape.sphere is not None:
            tell(f"{path}: its XMP data say {shape.sphere.projection} panorama; it is taken as a plain photo")
        return "anchored" if chosen == AUTO else chosen
    if chosen == AUTO:
        _expect_whole(path, shape, sphere, "wanted the whole sphere; panorama=anchored takes it as a plain photo")
        tell(f"{path}: its XMP data say 360-degree panorama; it becomes the panorama (panorama=given)")
        return GIVEN
    tell(f"{path}: its XMP data say 360-degree panorama; it is taken as a plain photo, as panorama={chosen} wants it")
    return chosen


def _expect_whole(path: Path, shape: Shape, sphere: Sphere | None, wanted: str) -> None:
    if sphere is not None and sphere.part:
        raise UserError(f"{path}: a part of a 360-degree panorama ({sphere.part}), {wanted}")
    tolerance = _TOLERANCE * shape.width if sphere is not None else 0
    if abs(shape.width - 2 * shape.height) > tolerance:
        raise UserError(f"{path}: {shape.width}x{shape.height} pixels, {wanted}")


def _gpano_tags(xmp: bytes) -> dict[str, str]:
    """GPano's properties, which are attributes or elements."""
    tags: dict[str, str] = {}
    for element in ElementTree.fromstring(xmp.strip(b"\0 \n\r\t")).iter():
        found = [*element.attrib.items(), (element.tag, element.text or "")]
        tags |= {name.removeprefix(_GPANO): value for name, value in found if name.startswith(_GPANO)}
    return tags


def _part(tags: Mapping[str, str]) -> str:
    """Empty for the whole sphere, which is also meant where nothing is said of a crop."""
    names = [f"{part}{side}Pixels" for part in ("FullPano", "CroppedAreaImage") for side in ("Width", "Height")]
    full_width, full_height, width, height = (_number(tags, name) for name in names)
    if full_width is None or full_height is None or width is None or height is None:
        return ""
    if abs(full_width - width) <= _TOLERANCE * full_width and abs(full_height - height) <= _TOLERANCE * full_width:
        return ""
    return f"XMP GPano: {width:g}x{height:g} of {full_width:g}x{full_height:g}"


def _number(tags: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(tags[name])
    except (KeyError, ValueError):
        return None
    return number if abs(number) < float("inf") else None

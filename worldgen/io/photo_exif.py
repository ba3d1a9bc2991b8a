"""What a picture's EXIF data tell: which side is up, and through which lens it was taken. Broken ones tell nothing."""

from dataclasses import dataclass

from PIL import ExifTags, Image

_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0}  # EXIF FocalPlaneResolutionUnit: inch, cm, mm
_SWAPS_SIDES = (5, 6, 7, 8)  # EXIF orientations that turn a photo by a quarter
_UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Lens:
    """What EXIF tells about the field of view; None where it says nothing that can be true.

    focal_35mm: the focal length that gives the same diagonal field of view on 36 mm x 24 mm film.
    focal_mm: the real one. sensor_width_mm: of the sensor along the upright photo's horizontal side.
    """

    focal_35mm: float | None = None
    focal_mm: float | None = None
    sensor_width_mm: float | None = None
    camera: str = ""


@dataclass(frozen=True)
class Shot:
    """orientation: EXIF's, 1 to 8; 1 is upright. lens: what there is about it. broken: what of it could not be read."""

    orientation: int = 1
    lens: Lens = Lens()
    broken: str = ""


def read_shot(image: Image.Image) -> Shot:
    """A picture's EXIF data; where they are broken, what there is without them."""
    try:
        exif, orientation = image.getexif(), _orientation(image)
        if not len(exif) and (content := image.info.get("exif")):
            Image.Exif().load(content)  # Pillow itself met what is broken in it, and kept silent
    except Exception as error:  # Pillow's readers raise nearly anything; of the pixels this says nothing
        return Shot(broken=f"its EXIF data are broken ({_reason(error)}) and left out")
    try:
        return Shot(orientation, _lens(exif, "Y" if orientation in _SWAPS_SIDES else "X"))
    except Exception as error:
        return Shot(orientation, broken=f"its EXIF data about the lens are broken ({_reason(error)}) and left out")


def upright(image: Image.Image) -> Image.Image:
    """The picture, decoded, with its upper side up; as it stands where its EXIF data are broken."""
    image.load()  # turns a TIFF, which then says that it is upright
    orientation = read_shot(image).orientation
    return image.transpose(_UPRIGHT_BY[orientation]) if orientation in _UPRIGHT_BY else image


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 for what is none."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in _UPRIGHT_BY else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height, pixels, of what `upright` gives, without decoding."""
    swaps = image.format != "TIFF" and read_shot(image).orientation in _SWAPS_SIDES  # a TIFF's size is turned already
    return image.size[::-1] if swaps else image.size


def _lens(exif: Image.Exif, across: str) -> Lens:
    """across: the sensor's own axis, X or Y, that is horizontal in the upright photo."""
    details = exif.get_ifd(ExifTags.IFD.Exif)
    camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return Lens(
        focal_35mm=_positive(details.get(ExifTags.Base.FocalLengthIn35mmFilm)),
        focal_mm=_positive(details.get(ExifTags.Base.FocalLength)),
        sensor_width_mm=_sensor_mm(details, across),
        camera=camera.strip(),
    )


def _sensor_mm(details: dict, axis: str) -> float | None:
    """Length of the sensor along its own `axis`, from the pixels that it has per millimetre."""
    pixels = _positive(details.get(ExifTags.Base.ExifImageWidth if axis == "X" else ExifTags.Base.ExifImageHeight))
    density = _positive(details.get(getattr(ExifTags.Base, f"FocalPlane{axis}Resolution")))
    unit_mm = _MM_PER_UNIT.get(details.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    return pixels / density * unit_mm if pixels and density and unit_mm else None


def _positive(value: object) -> float | None:
    """A tag as a number; None where it is absent, zero, or no number at all."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < float("inf") else None


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

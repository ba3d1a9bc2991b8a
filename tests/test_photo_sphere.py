"""Which photos are 360-degree panoramas, by what they say of themselves, and what is made of them."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from worldgen.errors import UserError
from worldgen.io.photo import examine
from worldgen.io.photo_sphere import Shape, Sphere, heuristic_for

WHOLE = Sphere("equirectangular")
PART = Sphere("equirectangular", "XMP GPano: 512x100 of 512x256")
PATH = Path("photo.jpg")


def xmp(*, elements: bool = False, **tags: object) -> bytes:
    """An XMP packet with GPano's properties as attributes, or as elements."""
    named = {f"GPano:{name}": value for name, value in tags.items()}
    attributes = "" if elements else " ".join(f'{name}="{value}"' for name, value in named.items())
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in named.items()) if elements else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        f' xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {attributes}>{inner}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def area(full: tuple[int, int], crop: tuple[int, int]) -> dict[str, int]:
    return {
        "FullPanoWidthPixels": full[0],
        "FullPanoHeightPixels": full[1],
        "CroppedAreaImageWidthPixels": crop[0],
        "CroppedAreaImageHeightPixels": crop[1],
    }


def save(path: Path, packet: bytes, size: tuple[int, int] = (256, 128)) -> Path:
    image = Image.new("RGB", size)
    if path.suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        image.save(path, pnginfo=info)
    else:
        image.save(path, xmp=packet)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("elements", [False, True])
def test_a_panorama_says_so_in_its_xmp_data(tmp_path, suffix, elements):
    packet = xmp(elements=elements, ProjectionType="equirectangular", PosePitchDegrees=-2.5, PoseRollDegrees="4")
    shape = examine(save(tmp_path / f"photo.{suffix}", packet))
    assert shape == Shape(256, 128, Sphere("equirectangular", "", -2.5, 4.0))


def test_a_photo_says_nothing_of_the_kind(tmp_path):
    assert examine(save(tmp_path / "photo.jpg", xmp(UsePanoramaViewer="True"))).sphere is None
    Image.new("RGB", (256, 128)).save(tmp_path / "plain.png")
    assert examine(tmp_path / "plain.png") == Shape(256, 128, None)


@pytest.mark.parametrize(
    ("full", "crop", "part"),
    [
        ((8192, 4096), (8192, 4096), ""),  # reduced since
        ((8192, 4096), (8192, 4095), ""),  # rounded
        ((512, 256), (512, 100), "XMP GPano: 512x100 of 512x256"),
        ((512, 256), (256, 128), "XMP GPano: 256x128 of 512x256"),
    ],
)
def test_a_cropped_panorama_is_a_part_of_one(tmp_path, full, crop, part):
    packet = xmp(ProjectionType="equirectangular", **area(full, crop))
    assert examine(save(tmp_path / "photo.jpg", packet)).sphere == Sphere("equirectangular", part)


def test_broken_xmp_data_are_left_out_with_a_note(tmp_path, caplog):
    packet = xmp(ProjectionType="equirectangular").replace(b"</x:xmpmeta>", b"</y:oh>")
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert examine(save(tmp_path / "photo.jpg", packet)).sphere is None
    assert "its XMP data are broken" in caplog.text
    strange = xmp(
        ProjectionType="equirectangular", PosePitchDegrees="nan", PoseRollDegrees="level", **area((0, 0), (0, 0))
    )
    assert examine(save(tmp_path / "photo.jpg", strange)).sphere == Sphere("equirectangular")


@pytest.mark.parametrize(
    ("sphere", "size", "chosen", "heuristic", "told"),
    [
        (None, (300, 200), "auto", "anchored", ""),
        (None, (300, 200), "sequential", "sequential", ""),
        (None, (400, 200), "auto", "anchored", ""),
        (None, (400, 200), "given", "given", ""),
        (WHOLE, (400, 200), "auto", "given", "it becomes the panorama (panorama=given)"),
        (WHOLE, (400, 201), "auto", "given", "it becomes the panorama (panorama=given)"),
        (WHOLE, (400, 200), "given", "given", ""),
        (WHOLE, (400, 200), "adhoc", "adhoc", "taken as a plain photo, as panorama=adhoc wants it"),
        (PART, (400, 80), "adhoc", "adhoc", "taken as a plain photo, as panorama=adhoc wants it"),
        (
            Sphere("cylindrical"),
            (400, 80),
            "auto",
            "anchored",
            "say cylindrical panorama; it is taken as a plain photo",
        ),
    ],
)
def test_what_a_photo_is_taken_as(sphere, size, chosen, heuristic, told):
    lines = []
    assert heuristic_for(PATH, Shape(*size, sphere), chosen, lines.append) == heuristic
    assert len(lines) == bool(told)
    assert told in "".join(lines)


@pytest.mark.parametrize(
    ("sphere", "size", "chosen", "message"),
    [
        (
            None,
            (300, 200),
            "given",
            "photo.jpg: 300x200 pixels, wanted a whole 360-degree panorama, twice as wide as high",
        ),
        (
            PART,
            (400, 200),
            "given",
            "photo.jpg: a part of a 360-degree panorama (XMP GPano: 512x100 of 512x256), wanted a",
        ),
        (PART, (400, 80), "auto", "wanted the whole sphere; panorama=anchored takes it as a plain photo"),
        (WHOLE, (400, 150), "auto", "photo.jpg: 400x150 pixels, wanted the whole sphere; panorama=anchored"),
    ],
)
def test_a_part_of_a_sphere_is_refused_in_one_line(sphere, size, chosen, message):
    with pytest.raises(UserError) as caught:
        heuristic_for(PATH, Shape(*size, sphere), chosen, pytest.fail)
    assert message in str(caught.value)

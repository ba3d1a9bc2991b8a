"""Tanks and Temples, the *Advanced* set: the paper's panoramas grow from one image of each of its six scenes.

Knapitsch, Park, Zhou, Koltun: Tanks and Temples, ACM ToG 2017. It must be downloaded by hand.
"""

from pathlib import Path

from eval.data.folders import IncompleteError, lacks, pictures_in
from worldgen.errors import UserError

SCENES = ("Auditorium", "Ballroom", "Courtroom", "Museum", "Palace", "Temple")
ADDRESS = "https://www.tanksandtemples.org/download/"
ADVICE = (
    f"download the image sets of the advanced scenes by hand from {ADDRESS} (read the licence there) and unpack each "
    "as <folder>/<scene>/000001.jpg, ..."
)


def missing(folder: Path) -> list[str]:
    """One line for each scene that is not there: what was found, what is wanted."""
    lines = []
    for scene in SCENES:
        if _images(folder, scene):
            continue
        if (folder / f"{scene}.zip").is_file():
            lines.append(f"{folder / scene}: found {scene}.zip, wanted it unpacked")
        elif (folder / scene).is_dir():
            lines.append(f"{folder / scene}: found no pictures, wanted 000001.jpg and so on")
        else:
            lines.append(lacks(folder / scene, f"the pictures of {scene}"))
    return lines


def photos(folder: Path, frame: int = 1) -> dict[str, Path]:
    """{scene: its input image}. frame: its place among the scene's images, from 1 [? the paper does not say which].

    Raises UserError where the folder is not the data set, or a scene has fewer images.
    """
    if lines := missing(folder):
        raise IncompleteError(folder, lines, ADVICE)
    chosen = {}
    for scene in SCENES:
        images = _images(folder, scene)
        if not 1 <= frame <= len(images):
            raise UserError(f"--frame {frame}: {scene} has {len(images)} images, wanted a number from 1 to that")
        chosen[scene.lower()] = images[frame - 1]
    return chosen


def _images(folder: Path, scene: str) -> list[Path]:
    return pictures_in(folder / scene) or pictures_in(folder / scene / "images")

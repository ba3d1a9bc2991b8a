"""ScanNet++: pairs of nearby views of real rooms, for the paper's comparison of point-cloud conditioning.

Yeshwanth, Liu, Nießner, Dai: ScanNet++, ICCV 2023. It must be applied for and downloaded by hand; the DSLR images are
then made pinhole images by the data set's own toolkit (`python -m dslr.undistort`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.data.folders import IncompleteError, lacks, link_all, pictures_in
from eval.data.nearby_pairs import a_to_b, nearby_pairs
from train.data.scannetpp_folders import IMAGES, TRANSFORMS, has_colmap, scenes_in, views
from worldgen.io.poses import PosedPicture

ADDRESS = "https://kaldir.vc.in.tum.de/scannetpp/"
ADVICE = (
    f"apply for it and download it by hand from {ADDRESS}, then run dslr.undistort of its toolkit "
    "(https://github.com/scannetpp/scannetpp), wanted <folder>/data/<scene>/dslr/resized_undistorted_images/*.JPG and "
    "<folder>/data/<scene>/dslr/nerfstudio/transforms_undistorted.json"
)
Pair = tuple[PosedPicture, PosedPicture]


def missing(folder: Path, scenes: Sequence[str] = ()) -> list[str]:
    """One line for each thing that is not there. scenes: only these; empty = those that are there."""
    there = {path.name: path for path in scenes_in(folder)}
    if not there:
        return [lacks(folder / "data" / "<scene>" / "dslr", "at least one scene")]
    home = next(iter(there.values())).parent
    lines = [lacks(home / name / "dslr", f"the scene {name}") for name in scenes if name not in there]
    for name, scene in there.items():
        if (scenes and name not in scenes) or has_colmap(scene):
            continue
        if not (scene / TRANSFORMS).is_file():
            lines.append(lacks(scene / TRANSFORMS, "the poses of the undistorted images"))
        if not pictures_in(scene / IMAGES):
            lines.append(lacks(scene / IMAGES / "DSC00001.JPG", "the undistorted images"))
    return lines


def conditioning_pairs(folder: Path, scenes: Sequence[str] = (), per_scene: int | None = 5) -> dict[str, Pair]:
    """{name: (A, B)}: A is what is known, B the nearby view to be predicted. Raises UserError.

    scenes: only these; empty = all that are there. per_scene: that many pairs of each, spread over it; None = all.
    """
    if lines := missing(folder, scenes):
        raise IncompleteError(folder, lines, ADVICE)
    found: dict[str, Pair] = {}
    for scene in scenes_in(folder):
        if not scenes or scene.name in scenes:
            for first, second in nearby_pairs(views(scene), count=per_scene):
                found[f"{scene.name}-{Path(first.name).stem}-{Path(second.name).stem}"] = (first, second)
    return found


def write_pairs(folder: Path, pairs: Mapping[str, Pair]) -> None:
    """photos/<name> is A, truth/<name> is B, by links; pairs.json holds their cameras and A's coordinates seen by B."""
    link_all({name: first.path for name, (first, _) in pairs.items()}, folder / "photos")
    link_all({name: second.path for name, (_, second) in pairs.items()}, folder / "truth")
    cameras = {
        name: {"a": _camera_record(first), "b": _camera_record(second), "a_to_b": a_to_b((first, second)).tolist()}
        for name, (first, second) in pairs.items()
    }
    (folder / "pairs.json").write_text(json.dumps(cameras, indent=1) + "\n", encoding="utf-8")


def _camera_record(picture: PosedPicture) -> dict[str, Any]:
    camera = picture.camera
    size = {"width": camera.width, "height": camera.height}
    lens = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    return {"picture": picture.name, **size, **lens, "c2w": camera.c2w.tolist()}

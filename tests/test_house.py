"""The house keeps its order: arrows point one way, libraries stay in their rooms, names have one meaning."""

import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.house import PACKAGES, imports, is_in, modules, ours

# Lowest first; a line may import from itself and from the lines above it, nothing from those below.
LEVELS = [
    "types errors arguments progress processors paths caches _torchvision _vector_math slurm program",
    "geometry io",
    "runs",
    "models splat",
    "signatures",
    "embedded present",
    "recipe cluster",
    "pipeline steps config command",
    "certificate",
    "cli world doctor view gallery status fetch __main__",
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms.split()}

PROGRAMS = "worldgen.program"
"""Starts every program by its name, and is started by every file that is one: its own imports are no arrows."""

# Libraries that any file may use: light, or what everything here is made of.
EVERYWHERE = {
    "torch",
    "numpy",
    "scipy",
    "numba",
    "PIL",
    "omegaconf",
    "hydra",
    "packaging",
    "psutil",
    "platformdirs",
    "safetensors",
    "typing_extensions",
}

# Others are imported only in these rooms and files, so that nobody else waits for them or needs them installed.
ROOMS = {
    "pytorch_lightning": ["train"],  # the loop around the fits
    "pycolmap": ["train.data"],  # start points from posed pictures
    "transformers": ["eval.metrics", "worldgen.models", "train.small_diffusion"],  # networks of the hub
    "diffusers": ["worldgen.models", "train.diffusion", "train.controlnet", "train.small_diffusion"],
    "bitsandbytes": ["train.controlnet"],  # an optimiser's state in 8 bits, if asked for
    "accelerate": ["worldgen.models"],
    "peft": ["worldgen.models"],
    "moge": ["worldgen.models"],
    "openvino": ["worldgen.embedded"],  # the two small networks
    "cv2": ["worldgen.io.undistort", "eval.synthetic"],  # lenses; textures of made-up rooms
    "pillow_heif": ["worldgen.io"],
    "plyfile": ["worldgen.io"],
    "gsply": ["worldgen.io"],
    "OpenEXR": ["eval.synthetic"],  # real panoramas
    "pyiqa": ["eval.metrics"],
    "torchmetrics": ["eval.metrics"],
    "torch_fidelity": ["eval.metrics"],
    "matplotlib": ["eval.experiments"],  # curves
    "wandb": ["worldgen.runs", "train.lightning", "eval.compare", "eval.wandb_evaluation"],  # runs at W&B
    "gsplat": ["worldgen.splat", "eval.benchmarks"],  # the rasteriser on CUDA, and its peer
    "viser": ["worldgen.present"],  # world.html
    "imageio_ffmpeg": ["worldgen.present", "worldgen.doctor"],  # the walk
    "trimesh": ["worldgen.io"],  # collision.glb
    "cryptography": ["worldgen.certificate"],  # view --https
    "segno": ["worldgen.view"],  # QR codes
    "rich": ["worldgen.present"],  # bars in terminals
    "plotly": ["eval.compare"],  # plots on its page
    "submitit": ["worldgen.cluster"],  # jobs of Slurm
    "IPython": ["worldgen.world"],  # notebooks
}

ADAPTERS = "worldgen.models"
"""One short file for each network, with the library that it needs."""

TEACHERS = {  # programs that make the weights that the embedded profile carries, and their parts
    "eval.experiments.learned_ground",
    "eval.experiments.photo_skies",
    "eval.experiments.sky_crops",
    "eval.synthetic.sky_truth",
}

# One subject in several rooms, which say the rest.
SAME_NAME = {
    "__init__": "packages",
    "__main__": "what python -m starts",
    "cli": "the command line of a program",
    "settings": "the settings of the room",
    "base": "what the files of the room have in common",
    "export": "files to look at: of a world, and of a fit",
    "module": "a LightningModule of the room, or what all have in common",
    "clouds": "point clouds as files: our own, and of folders of posed pictures",
    "seams": "what a seam is, and its metric",
    "pairs": "two pictures of one place: to train on, and to score",
}


def room(name: str) -> str:
    """worldgen.recipe.panorama -> recipe; worldgen -> __main__, which is as high."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__main__"


def named_after_another(path: Path) -> bool:
    """The kernels of the file of that name above them, or the benchmark of something."""
    kernels = path.parent.name == "kernels" and (path.parents[1] / path.name).exists()
    return kernels or path.parent.name == "benchmarks"


def graph() -> dict[str, set[str]]:
    return {name: ours(name) for name in modules() if name != PROGRAMS}


def test_every_room_has_its_level():
    assert {room(name) for name in modules() if is_in(name, "worldgen")} <= LEVEL.keys()


def test_no_circle():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_rooms_do_not_import_each_other_in_a_circle():
    rooms = defaultdict(set)
    for name, targets in graph().items():
        if is_in(name, "worldgen"):
            rooms[room(name)] |= {room(target) for target in targets if is_in(target, "worldgen")} - {room(name)}
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_arrows_point_one_way():
    upward = [
        f"{name} imports {target}"
        for name, targets in graph().items()
        for target in targets
        if PACKAGES.index(target.split(".")[0]) > PACKAGES.index(name.split(".")[0])
        or (is_in(name, "worldgen") and is_in(target, "worldgen") and LEVEL[room(target)] > LEVEL[room(name)])
    ]
    assert upward == []


def test_only_configs_and_teachers_name_what_stands_in_for_networks():
    outside = [
        f"{name} imports {target}"
        for name, targets in graph().items()
        for target in targets
        if is_in(target, "worldgen.embedded") and not is_in(name, "worldgen.embedded") and name not in TEACHERS
    ]
    assert outside == []


def test_libraries_stay_in_their_rooms():
    strays = [
        f"{name} imports {library}"
        for name in modules()
        for library in imports(name)
        if library.split(".")[0] not in PACKAGES
        and library not in sys.stdlib_module_names | EVERYWHERE
        and not any(is_in(name, place) for place in [ADAPTERS, *ROOMS.get(library, [])])
    ]
    assert strays == [], "another library, or another room for one: say so in ROOMS, with the reason"


def test_a_name_has_one_meaning():
    places = defaultdict(list)
    for path in modules().values():
        if not named_after_another(path):
            places[path.stem].append(str(path))
    assert {stem: paths for stem, paths in places.items() if len(paths) > 1 and stem not in SAME_NAME} == {}

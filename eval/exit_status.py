"""How a command of the evaluation ends: one line and exit status 2 for what a person can mend."""

import sys
from collections.abc import Callable

from worldgen.errors import UserError


def run(main: Callable[[], None]) -> int:
    """Runs a command; returns its exit status."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0

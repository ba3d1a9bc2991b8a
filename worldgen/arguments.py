"""Command lines with options (argparse) that say what is wrong as all programs of ours do: in one line."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import NoReturn

from worldgen.errors import UserError


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit: the option, what was found, what is wanted."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise UserError(self._one_line(message))

    def _one_line(self, message: str) -> str:
        if found := re.fullmatch(r"the following arguments are required: (.*)", message):
            return f"{found[1]}: missing, wanted as {self.prog} --help says"
        if found := re.fullmatch(r"unrecognized arguments: (.*)", message):
            options = [option for action in self._actions for option in action.option_strings if option[:2] == "--"]
            return f"{found[1]}: not known, wanted one of {', '.join(options)}"
        if found := re.fullmatch(r"argument (.*?): invalid choice: (.*) \(choose from (.*)\)", message):
            return f"{found[1]}: {found[2]}, wanted one of {found[3]}"
        told = message.removeprefix("argument ")
        return told if ", wanted " in told else f"{told}, wanted as {self.prog} --help says"


def ends_in_one_line(main: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """A program's `main`, which says what a person can mend in one line, and then returns exit status 2."""

    @wraps(main)
    def told(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return told

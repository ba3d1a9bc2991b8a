"""How a long step tells what it is doing: it takes a `Track` and never prints. `present/console.py` shows bars."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Track = Callable[[Iterable, int, str], Iterator]
"""(items, how many, what is being done) -> the same items, while a bar moves. 0 items: nobody knows how many."""


def untracked(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The silent `Track`."""
    del total, what
    return iter(items)

"""How a long step tells what it is doing. Steps take a `Track`; they never print."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Track = Callable[[Iterable, int, str], Iterator]
"""(items, how many, what is being done) -> the same items, while a bar moves."""


def untracked(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The silent `Track`."""
    del total, what
    return iter(items)

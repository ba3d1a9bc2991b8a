"""A part of a sequence whose items are read from disk as they are asked for."""

from collections.abc import Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Selected(Sequence[T]):
    """The items of these numbers, in their order; none is held here."""

    def __init__(self, items: Sequence[T], numbers: Sequence[int]) -> None:
        self._items, self._numbers = items, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "Selected[T]": ...

    def __getitem__(self, index: int | slice) -> "T | Selected[T]":
        if isinstance(index, slice):
            return Selected(self._items, self._numbers[index])
        return self._items[self._numbers[index]]

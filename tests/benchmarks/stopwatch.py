"""Which kind of work a run's time goes into: functions are wrapped while a clock is on them, wherever they are used."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch


class Stopwatch:
    """Seconds of each kind of work, wall and processor (all threads), without those of other kinds within it.

    `rest` is what belongs to none.
    """

    REST = "rest"

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._kinds = [self.REST]
        self._since = _clocks()

    @contextmanager
    def on(self, kinds: Mapping[str, Sequence[str]]) -> Iterator["Stopwatch"]:
        """The clock runs. kinds: of each the functions, as `module:name` or `module:Class.name`."""
        with ExitStack() as stack:
            for kind, names in kinds.items():
                self.seconds[kind] = [0.0, 0.0]
                for name in names:
                    for owner, key, function in _places(name):
                        stack.enter_context(patch.object(owner, key, self._watched(kind, function)))
            self._since = _clocks()
            yield self
            self._turn()

    def _watched(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            self._turn()
            self._kinds.append(kind)
            try:
                return function(*arguments, **named)
            finally:
                self._turn()
                self._kinds.pop()

        return watched

    def _turn(self) -> None:
        """Counts the time since the last turn for what was going on."""
        now = _clocks()
        spent = self.seconds.setdefault(self._kinds[-1], [0.0, 0.0])
        for index, (before, after) in enumerate(zip(self._since, now, strict=True)):
            spent[index] += after - before
        self._since = now


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _places(name: str) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """Where a function is found: in its class, or in all modules of ours that have imported it."""
    module, _, path = name.partition(":")
    function = resolve_name(name)
    if "." in path:
        owner, _, key = path.rpartition(".")
        yield resolve_name(f"{module}:{owner}"), key, function
        return
    for one in [one for key, one in sys.modules.items() if key.partition(".")[0] in ("worldgen", "train", "eval")]:
        yield from ((one, key, function) for key, value in list(vars(one).items()) if value is function)

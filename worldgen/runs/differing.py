"""Which settings tell runs apart."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def differing_keys(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys whose values are not the same in all runs that have them, sorted. settings: of each run, by dotted key.

    What a run lacks is no difference: one that stopped early has few settings."""
    values: dict[str, set[str]] = {}
    for of_run in settings:
        for key, value in of_run.items():
            values.setdefault(key, set()).add(json.dumps(value, sort_keys=True))
    return sorted(key for key, found in values.items() if len(found) > 1)

"""How much of a world's renders shows the world: per view in evaluation.json, in a line where it is little."""

from collections.abc import Mapping
from typing import Any

LOW = 0.9  # a world is looked at from inside; views that show more of the background miss it, or most of it is missing


def coverage_record(method: str, coverage: Mapping[tuple[str, str, str], float]) -> dict[str, Any]:
    """A method's shares for evaluation.json, {"coverage": {image: {view: share}}}; nothing where it has no renders.

    coverage: by (method, image, view), of the pixels that are not background.
    """
    found: dict[str, dict[str, float]] = {}
    for (name, image, view), share in coverage.items():
        if name == method:
            found.setdefault(image, {})[view] = round(share, 4)
    return {"coverage": found} if found else {}


def coverage_notes(method: str, record: Mapping[str, Any]) -> list[str]:
    """One line on a method's record where some views show less of the world than LOW."""
    shares = {
        f"{image}/{view}": share for image, views in record.get("coverage", {}).items() for view, share in views.items()
    }
    low = {view: share for view, share in shares.items() if share < LOW}
    if not low:
        return []
    worst = min(low, key=lambda view: low[view])
    return [
        f"{len(low)} of {len(shares)} views are background in more than {1 - LOW:.0%} of their pixels; the world fills "
        f"{low[worst]:.0%} of {worst} (methods.{method}.axes, .scale and .origin tell where it is to be seen from)"
    ]

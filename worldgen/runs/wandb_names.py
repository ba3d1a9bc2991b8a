"""How runs are called at W&B: names that people read, tags, and the keys that programs look for."""

import re
from pathlib import Path

ABOUT = "about"
"""Key of a run's config for what is no setting."""
WORLD, EVALUATION = "world", "eval"
"""Job types. Trainings have others: fit, controlnet, autoencoder, denoiser."""
SCORE = "score/"
"""Begins the keys of a world's scores in its summary."""
_BETWEEN = " · "
_TOLD = ("panorama=", "seed=", "panorama.heuristic=")
_TAG_LENGTH = 64


def run_name(folder: Path, photo: str, heuristic: str, seed: int) -> str:
    """`venice · anchored · seed 0`, and what the folder's own name adds to that: other settings of a sweep, or the name
    that a person gave it."""
    own = folder.resolve().name
    rest = own.removeprefix(photo).lstrip("-") if own.startswith(photo) else own
    settings = re.split(r"-(?=[\w./@]+=)", rest)
    told = [photo, heuristic, f"seed {seed}", *(each for each in settings if each and not each.startswith(_TOLD))]
    return _BETWEEN.join(told)


def tags_of(*names: str | None) -> tuple[str, ...]:
    """Each once, none empty, and none longer than W&B takes."""
    return tuple(dict.fromkeys(name[:_TAG_LENGTH] for name in names if name))


def score_key(protocol: str, metric: str) -> str:
    """`score/brisque` by the protocol `panorama`, `score/world/brisque` by another: they look at other pictures."""
    return f"{SCORE}{metric}" if protocol == "panorama" else f"{SCORE}{protocol}/{metric}"


def score_name(key: str) -> str | None:
    """The metric that a key of the summary stands for, with another protocol in brackets; None for other keys."""
    if not key.startswith(SCORE):
        return None
    protocol, _, metric = key.removeprefix(SCORE).rpartition("/")
    return f"{metric} ({protocol})" if protocol else metric

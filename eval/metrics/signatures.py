"""How much of what goes wrong a picture of faults shows, as the protocols `faults` and `completed` make them.

Such a picture holds square roots: small faults are seen in it, and eight bits hold them.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from eval.metrics.base import Better, Companion, Needs
from worldgen.errors import expect
from worldgen.signatures.completed_faults import CONTRADICTED, UNSEEN


def _mean(channel: int) -> Callable[[Tensor], float]:
    return lambda amounts: 100 * float(amounts[channel].mean())


def _of_known(amounts: Tensor) -> float:
    known = amounts[1] > 0.5
    return 255 * float(amounts[0][known].mean()) if bool(known.any()) else 0.0


def _of_painted(verdict: float) -> Callable[[Tensor], float]:
    """The share of the painted pixels that have that verdict, or a worse one."""

    def share(amounts: Tensor) -> float:
        painted = amounts[2] > 0.5
        return 100 * float((amounts[0][painted] > verdict - 0.1).float().mean()) if bool(painted.any()) else 0.0

    return share


_KINDS: dict[str, Callable[[Tensor], float]] = {
    "floaters": _mean(0),  # % of the colour
    "haze": _mean(1),  # 100 x the standard deviation of the logarithm of the depth
    "ghosts": _mean(2),  # 100 x the change of a colour from 0 to 1
    "hallucinations": _of_known,  # steps of 8 bits
    "unsupported": _of_painted(UNSEEN),  # % of the painted pixels
    "contradicted": _of_painted(CONTRADICTED),  # the same
}
_VERSION = "1"  # raised when a value changes


class Fault:
    """kind: floaters, haze or ghosts, of protocol=faults; hallucinations, unsupported, contradicted, of
    protocol=completed."""

    better: Better = "lower"
    needs: Needs = "nothing"
    across_processes = True

    def __init__(self, kind: str = "floaters") -> None:
        expect("metric.kind", kind, kind in _KINDS, f"one of {', '.join(_KINDS)}")
        self.name = self.kind = kind

    def unavailable(self) -> str | None:
        """Always there."""
        return None

    def versions(self) -> dict[str, str]:
        """What decides the values, for footers and the cache's keys."""
        return {"worldgen": _VERSION}

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """One value for each picture of faults [3, h, w]."""
        del companions
        return [_KINDS[self.kind](picture.square()) for picture in pictures]

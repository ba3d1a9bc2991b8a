"""Batches by the number of the optimiser's step: whoever goes on at step n, on any rank, sees what step n is to see."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from train.data.pair_batches import Batches
from train.data.pairs import ConditionedBatch, ConditionedData


@dataclass(frozen=True)
class Place:
    """step: how many are done; rank: of this process among `world` of them."""

    step: int
    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class StepBatches:
    """What one process sees of `steps` steps, from where it stands: `accumulate` batches of `batch` samples a step.

    Step n has the samples from n * batch * accumulate * world on; its first batches, one of each rank, have the first
    of them. place: asked when one begins to go through them.
    """

    data: ConditionedData
    steps: int
    batch: int
    accumulate: int
    workers: int
    seed: int
    place: Callable[[], Place]

    def __iter__(self) -> Iterator[ConditionedBatch]:
        """Raises UserError as `ConditionedSamples` does."""
        at = self.place()
        together = self.batch * at.world  # samples of all ranks' batches
        samples = self.data(self.steps * self.accumulate * together, self.seed)
        firsts = range(at.step * self.accumulate * together, len(samples), together)
        numbers = [first + at.rank * self.batch + n for first in firsts for n in range(self.batch)]
        yield from Batches(samples, numbers, self.batch, self.workers)

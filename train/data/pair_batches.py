"""Batches of pairs (`pairs.py`), by the numbers of their samples, made here or by workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import DataLoader

from train.data.pairs import ConditionedBatch, ConditionedSamples, collate
from worldgen.errors import UserError, expect

_STARTED = "spawn"  # numba's threads do not outlive a fork: the worker would end


@dataclass(frozen=True)
class Batches:
    """The samples of these numbers, in this order, `batch` at a time; to be gone through as often as one likes.

    numbers: those of one rank, from where it goes on: what comes does not depend on how many workers there are. What
    they leave out, they tell on stderr.
    """

    samples: ConditionedSamples
    numbers: Sequence[int]
    batch: int
    workers: int = 0

    def __post_init__(self) -> None:
        count = len(self.numbers)
        fits = self.batch >= 1 and count % self.batch == 0
        expect("data.batch", self.batch, fits, f"a whole part of {count} samples")
        expect("data.workers", self.workers, self.workers >= 0, "0 or more")

    def __len__(self) -> int:
        return len(self.numbers) // self.batch

    def __iter__(self) -> Iterator[ConditionedBatch]:
        """Raises UserError, one line, from a worker too."""
        loader: DataLoader[ConditionedBatch] = DataLoader(
            self.samples,  # type: ignore[arg-type]  # it gives samples, `collate` makes them batches
            batch_size=self.batch,
            sampler=self.numbers,
            num_workers=self.workers,
            collate_fn=collate,
            multiprocessing_context=_STARTED if self.workers else None,
        )
        try:
            yield from loader
        except UserError as error:  # torch puts the worker's whole traceback in it
            raise UserError(str(error).strip().splitlines()[-1].removeprefix("worldgen.errors.UserError: ")) from error

"""Random numbers by what they are for: equal numbers draw the same on every rank, in every worker, at any time."""

import numpy as np
import torch


def generator_of(*numbers: int) -> torch.Generator:
    """A generator on the CPU for these numbers, each 0 or more: of a seed and a sample, say. Others draw otherwise."""
    mixed = np.random.SeedSequence(numbers).generate_state(1)  # torch heeds 32 bits of a seed
    return torch.Generator().manual_seed(int(mixed[0]))

"""A linear rule on what a network says of places: log odds out of features. How it is kept, and how it is learned."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.runs.disk import landing


class LinearRule(NamedTuple):
    """weights: [D]; bias: []."""

    weights: Tensor
    bias: Tensor

    def odds(self, features: Tensor) -> Tensor:
        """[D, ...] -> log odds [...]."""
        return torch.tensordot(self.weights, features, dims=1) + self.bias


def read_rule(path: Path) -> LinearRule:
    """From an .npz file."""
    with np.load(path) as file:
        return LinearRule(torch.from_numpy(file["weights"]), torch.from_numpy(file["bias"]))


def write_rule(path: Path, rule: LinearRule) -> None:
    """To an .npz file, which holds either the old rule or the new one."""
    with landing(path) as new:
        np.savez(new, weights=rule.weights.numpy(), bias=rule.bias.numpy())


def learned_rule(features: Tensor, truth: Tensor, weight: Tensor, ridge: float, steps: int) -> LinearRule:
    """Ridge logistic regression. features: [N, D]; truth: [N] in 0..1; weight: [N], what each counts, sum 1."""
    mean = (features * weight[:, None]).sum(0)
    spread = ((features - mean).square() * weight[:, None]).sum(0).sqrt() + 1e-3
    standard = (features - mean) / spread
    line = torch.zeros(features.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        miss = F.binary_cross_entropy_with_logits(standard @ line[:-1] + line[-1], truth, weight, reduction="sum")
        total = miss + ridge * line[:-1].square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    weights = line.detach()[:-1] / spread
    return LinearRule(weights, line.detach()[-1] - weights @ mean)

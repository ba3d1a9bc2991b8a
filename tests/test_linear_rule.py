"""Ridge logistic regression against SciPy's optimiser, and a rule as a file."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from worldgen.embedded.linear_rule import LinearRule, learned_rule, read_rule, write_rule


def test_the_rule_is_where_another_optimiser_finds_the_least_loss():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 4, generator=generator) * torch.tensor([1.0, 5.0, 0.2, 1.0]) + 3
    truth = (features[:, 0] - 0.3 * features[:, 1] + torch.randn(300, generator=generator) > 2).float()
    weight = torch.rand(300, generator=generator)
    weight = weight / weight.sum()
    rule, ridge = learned_rule(features, truth, weight, 1e-2, 200), 1e-2
    x, y, w = (values.double().numpy() for values in (features, truth, weight))
    mean = (x * w[:, None]).sum(0)
    spread = np.sqrt(((x - mean) ** 2 * w[:, None]).sum(0)) + 1e-3

    def loss(line):
        odds = (x - mean) / spread @ line[:-1] + line[-1]
        return (w * (np.logaddexp(0, odds) - y * odds)).sum() + ridge * (line[:-1] ** 2).sum()

    best = minimize(loss, np.zeros(5)).x
    wanted = ((x - mean) / spread) @ best[:-1] + best[-1]
    assert np.abs(rule.odds(features.T).numpy() - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_rule_is_read_as_it_was_written(tmp_path):
    rule = LinearRule(torch.randn(7), torch.tensor(0.5))
    write_rule(tmp_path / "rule.npz", rule)
    again = read_rule(tmp_path / "rule.npz")
    assert torch.equal(again.weights, rule.weights)
    assert again.bias == rule.bias
    assert [path.name for path in tmp_path.iterdir()] == ["rule.npz"]


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 5)])
def test_places_are_told_wherever_they_lie(shape):
    rule = LinearRule(torch.arange(7.0), torch.tensor(-1.0))
    assert torch.allclose(rule.odds(torch.ones(shape)), torch.full(shape[1:], 20.0))

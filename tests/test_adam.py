"""SelectiveAdam: torch's Adam for the rows that are seen, nothing for the others, the same by numba and by torch."""

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgen.splat import adam
from worldgen.splat.adam import SelectiveAdam

COUNT = 40


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"means": (COUNT, 3), "opacity": (COUNT,), "sh": (COUNT, 4, 3)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def optimiser(values: dict[str, torch.Tensor]) -> tuple[SelectiveAdam, dict[str, torch.nn.Parameter]]:
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in values.items()}
    rates = {"means": 0.01, "opacity": 0.05, "sh": 0.002}
    groups = [{"params": [p], "lr": rates[name], "name": name} for name, p in parameters.items()]
    groups[2]["column_rates"] = torch.tensor([1.0, 0.05, 0.05, 0.05])[:, None].expand(4, 3)
    return SelectiveAdam(groups), parameters


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), steps=st.integers(1, 12), scale=st.sampled_from([1e-6, 1.0, 1e4]))
def test_each_row_is_moved_as_torchs_adam_moves_it_alone(seed, steps, scale):
    """Row by row, each with an Adam of its own that only ever hears of the steps at which the row was seen, at a rate
    that makes up for the others."""
    ours, parameters = optimiser(tensors(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    reach = torch.rand(COUNT, generator=generator) * 10
    alone = [
        {name: torch.nn.Parameter(value[i].double()) for name, value in tensors(seed).items()} for i in range(COUNT)
    ]
    adams = []
    for i, row in enumerate(alone):
        first, rest = torch.nn.Parameter(row["sh"][0].detach()), torch.nn.Parameter(row["sh"][1:].detach())
        row["first"], row["rest"] = first, rest
        rates = {"means": 0.01 * reach[i].item(), "opacity": 0.05, "first": 0.002, "rest": 0.0001}
        groups = [{"params": [row[n]], "lr": rate, "base": rate} for n, rate in rates.items()]
        adams.append(torch.optim.Adam(groups, betas=adam.BETAS, eps=1e-15))
    times_seen = torch.zeros(COUNT)
    for step in range(1, steps + 1):
        seen = torch.nonzero(torch.rand(COUNT, generator=generator) < 0.4)[:, 0]
        for name, parameter in parameters.items():
            parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
            for i in seen.tolist():
                if name == "sh":
                    alone[i]["first"].grad, alone[i]["rest"].grad = (
                        parameter.grad[i, 0].double(),
                        parameter.grad[i, 1:].double(),
                    )
                else:
                    alone[i][name].grad = parameter.grad[i].double()
        ours.step(rows=seen, row_rates={"means": reach})
        times_seen[seen] += 1
        for i in seen.tolist():
            for group in adams[i].param_groups:
                group["lr"] = group["base"] * (step / times_seen[i].item()) ** 0.5
            adams[i].step()
    for i, row in enumerate(alone):
        assert torch.allclose(parameters["means"][i].double(), row["means"], rtol=1e-4, atol=1e-5)
        assert torch.allclose(parameters["opacity"][i].double(), row["opacity"], rtol=1e-4, atol=1e-5)
        assert torch.allclose(parameters["sh"][i].double(), torch.cat([row["first"][None], row["rest"]]), atol=1e-6)


def test_torch_and_numba_take_the_same_steps(monkeypatch):
    outcomes = []
    for step in (adam._step_by_numba, adam._step_by_torch):
        monkeypatch.setattr(adam, "_step_by_numba", step)
        ours, parameters = optimiser(tensors())
        generator = torch.Generator().manual_seed(5)
        for _ in range(8):
            for parameter in parameters.values():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            ours.step(rows=torch.nonzero(torch.rand(COUNT, generator=generator) < 0.5)[:, 0])
        outcomes.append((parameters, ours.state_dict()["state"]["clock"]))
    (numbas, numba_clock), (torchs, torch_clock) = outcomes
    assert torch.equal(numba_clock, torch_clock)
    for name, parameter in numbas.items():
        assert torch.allclose(parameter, torchs[name], atol=1e-6)


def test_rows_that_are_not_seen_do_not_stir():
    ours, parameters = optimiser(tensors())
    for _ in range(3):
        for parameter in parameters.values():
            parameter.grad = torch.ones_like(parameter)
        ours.step(rows=torch.arange(0, COUNT, 2))
    for name, before in tensors().items():
        assert torch.equal(parameters[name][1::2], before[1::2])
        assert not torch.isclose(parameters[name][::2], before[::2], atol=1e-6).any()


def test_state_survives_a_checkpoint_bit_by_bit():
    def run(ours, parameters, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in parameters.values():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            ours.step(rows=torch.nonzero(torch.rand(COUNT, generator=generator) < 0.5)[:, 0])

    whole, parameters = optimiser(tensors())
    run(whole, parameters, range(6))
    first, halfway = optimiser(tensors())
    run(first, halfway, range(3))
    second, resumed = optimiser({name: parameter.detach() for name, parameter in halfway.items()})
    second.load_state_dict(first.state_dict())
    run(second, resumed, range(3, 6))
    assert all(torch.equal(parameter, resumed[name]) for name, parameter in parameters.items())


def test_after_density_control_kept_rows_go_on_and_fresh_ones_begin():
    ours, parameters = optimiser(tensors())
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    ours.step()
    origin, fresh = torch.tensor([3, 3, 7]), torch.tensor([False, True, False])
    kept = [torch.nn.Parameter(parameter.detach()[origin]) for parameter in parameters.values()]
    before = {parameter: ours.state[parameter]["mean"].clone() for parameter in parameters.values()}
    ours.regroup(origin, fresh, kept)
    assert ours.state["clock"].tolist() == [1, 0, 1]
    assert ours.state["born"].tolist() == [0, 1, 0]
    for old, new in zip(parameters.values(), kept, strict=True):
        assert torch.equal(ours.state[new]["mean"][0], before[old][3])
        assert not ours.state[new]["mean"][1].any()
        assert old not in ours.state
    assert [group["params"][0] is new for group, new in zip(ours.param_groups, kept, strict=True)] == [True] * 3


@pytest.mark.parametrize("rows", [torch.empty(0, dtype=torch.int64), None])
def test_no_row_and_all_rows(rows):
    ours, parameters = optimiser(tensors())
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    ours.step(rows=rows)
    moved = [not torch.equal(parameters[name], before) for name, before in tensors().items()]
    assert moved == [rows is None] * 3


def test_the_result_does_not_depend_on_threads(set_threads):
    outcomes = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        set_threads(threads)
        ours, parameters = optimiser(tensors())
        for parameter in parameters.values():
            parameter.grad = parameter.detach().sin()
        ours.step()
        outcomes.append(torch.cat([parameter.detach().flatten() for parameter in parameters.values()]))
    assert torch.equal(*outcomes)

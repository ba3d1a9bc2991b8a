"""FSDP2: each process keeps a share of the trained weights, of their gradients and of the optimiser's state.

Checkpoints are whole all the same, and written by the first process: a training may go on with another strategy.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for modules that call `shard` in `configure_model`. processes: of all nodes."""

    def __init__(self, processes: int) -> None:
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = True) -> dict[str, Any]:
        """Never code, whatever `weights_only` says. Raises UserError as the trainer's CheckpointIO does."""
        del weights_only
        self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=True)
        return super().load_checkpoint(checkpoint_path, weights_only=True)


def shard(network: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Leaves each process its share of the network's parameters, once. blocks: parts of it, which are put together one
    at a time when they are at work."""
    if isinstance(network, FSDPModule):
        return
    for part in (*blocks, network):
        fully_shard(part, mesh=mesh["data_parallel"])


def whole_weights(network: nn.Module) -> Mapping[str, Tensor] | None:
    """The state_dict of a network in shares, on the CPU of the first process, empty in others; None where it is whole.

    To be called by all processes.
    """
    weights: Any = get_model_state_dict(network, options=_WHOLE) if isinstance(network, FSDPModule) else None
    return weights

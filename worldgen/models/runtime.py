"""Where and how networks run: the config group `runtime`, which reaches every adapter and enters no step's hash."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from worldgen.errors import expect, is_whole

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
DEVICES, DTYPES = ("auto", "cpu", "cuda"), ("auto", "float32", "bfloat16", "float16")
OFFLOADS = ("none", "model", "sequential")


@dataclass(frozen=True)
class Runtime:
    """device: auto = cuda where there is one. dtype: of networks' weights; auto = float32 on a CPU, 16 bits on a GPU.
    offload: what does not fit the GPU waits in memory, as whole networks or layer by layer. batch: views in one call,
    where they do not depend on each other."""

    device: str = "auto"
    dtype: str = "auto"
    offload: str = "none"
    batch: int = 1

    def __post_init__(self) -> None:
        for name, choices in (("device", DEVICES), ("dtype", DTYPES), ("offload", OFFLOADS)):
            value = getattr(self, name)
            expect(f"runtime.{name}", value, value in choices, f"one of {', '.join(choices)}")
        expect("runtime.batch", self.batch, is_whole(self.batch) and self.batch >= 1, "a whole number from 1")

    @property
    def torch_device(self) -> "torch.device":
        """The device. Raises UserError for cuda where torch sees no GPU."""
        import torch

        there = torch.cuda.is_available()
        expect("runtime.device", self.device, there or self.device != "cuda", "cpu or auto (torch sees no GPU here)")
        return torch.device("cuda" if there and self.device != "cpu" else "cpu")

    def expect_device_alone(self, program: str) -> None:
        """Raises UserError for what is set beside the device, where a program has precision and batches of its own; and
        as `torch_device` does."""
        for name in ("dtype", "offload", "batch"):
            value, default = getattr(self, name), getattr(Runtime, name)
            expect(f"runtime.{name}", value, value == default, f"{default}: {program} heeds runtime.device alone")
        _ = self.torch_device

    @property
    def torch_dtype(self) -> "torch.dtype":
        """Of networks' weights. Raises UserError as `torch_device` does."""
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.torch_device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def with_runtime(made: T, runtime: Runtime) -> T:
    """What was made of a config, told where to run if it has a `runtime` to be told."""
    if hasattr(made, "runtime"):
        made.runtime = runtime
    return made

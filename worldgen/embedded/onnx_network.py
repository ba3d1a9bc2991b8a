"""Small networks out of ONNX files, on the processor.

By OpenVINO, which took half of ONNX Runtime's time for MI-GAN, with answers that differ by rounding.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from worldgen.processors import usable_cores


class OnnxNetwork:
    """The network of a file with one output, on `threads` CPU threads (0 = all that this process may use).

    It is compiled for the shapes that it is asked for, and kept for the last ones: each copy has buffers of its own.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        core = _openvino().Core()
        self._core, self._model = core, core.read_model(str(path))
        self._config = {
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            "INFERENCE_PRECISION_HINT": "f32",  # else processors that have bfloat16 paint other pictures
            "ENABLE_CPU_PINNING": False,  # jobs that share a node would be pinned to the same cores
        }
        self._shapes: list[tuple[int, ...]] = []
        self._compiled: Any = None

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """The output, for arrays in the order of the file's inputs."""
        shapes = [one.shape for one in inputs]
        if shapes != self._shapes:
            self._compiled = None  # frees its buffers before the next ones are made
            model = self._model.clone()
            model.reshape({number: list(shape) for number, shape in enumerate(shapes)})
            self._compiled, self._shapes = self._core.compile_model(model, "CPU", self._config), shapes
        return np.array(self._compiled(list(inputs))[0])  # its own memory is used again by the next call


def _openvino() -> Any:
    """The module, without the package that would report each import of it to its makers and write into the home."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino

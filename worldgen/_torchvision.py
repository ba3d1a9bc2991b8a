"""Makes `import torchvision` work where its compiled part cannot be loaded.

The registry's torchvision is built for CUDA. Beside a CPU build of torch its compiled part does not load, and then
`import torchvision` fails with "operator torchvision::nms does not exist", and with it pytorch_lightning, torchmetrics
and pyiqa. Declaring the two operators' schemas first is enough; only `ops.nms`, `deform_conv2d` and `io.*` stay out of
reach. The work waits until somebody imports torchvision, so that `import worldgen` costs nothing.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list = []  # torch forgets the schemas when their library object goes


class _BeforeTorchvision(MetaPathFinder):
    """Stands in front of the import system, acts on the first `import torchvision`, and finds nothing itself."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = PathFinder.find_spec("torchvision")
            if spec is not None and spec.origin is not None and not _extension_loads(Path(spec.origin).parent):
                _declare_operators()
        return None


def _extension_loads(package: Path) -> bool:
    import torch

    for library in package.glob("_C*.so"):
        try:
            torch.ops.load_library(library)
        except OSError:
            continue
        return True
    return False


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


sys.meta_path.insert(0, _BeforeTorchvision())

"""One photo becomes an explorable metric 3D world.

import worldgen
world = worldgen.generate("photo.jpg", overrides=["panorama=sequential"])
world.show()
"""

import os
from typing import TYPE_CHECKING, Any

# Threads that wait for work sleep instead of spinning: torch, numba and ONNX Runtime take turns on the same cores, and
# spinning ones take them from whoever works. OpenMP reads this once, when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# One number of threads: numba's first kernel gives OpenMP, and with it torch, its own, so that with two numbers sums
# would be taken in another order before it than after it.
if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would tell its makers of every session

from worldgen import _torchvision as _torchvision
from worldgen import caches

caches.prepare()  # before anything imports numba, which reads its settings once

if TYPE_CHECKING:
    from worldgen.world import World, generate

__all__ = ["World", "generate"]


def __getattr__(name: str) -> Any:
    """Loads the library behind the two public names when one of them is asked for (PEP 562)."""
    if name in __all__:
        from worldgen import world

        return getattr(world, name)
    raise AttributeError(f"module 'worldgen' has no attribute {name!r}")

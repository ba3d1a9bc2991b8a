"""How the rasteriser's numba kernels are compiled.

Numba's cache watches the file that a function stands in and no other. So a kernel file is one compilation unit: its
kernels call helpers of the same file and take nothing from elsewhere but these options. After a change here, delete
the `__pycache__` folders (or touch the kernel files).
"""

from typing import Any

_COMMON: dict[str, Any] = {"boundscheck": False, "error_model": "numpy"}

EXACT = _COMMON | {"fastmath": {"contract", "nsz"}}
"""Helpers that must see NaN and infinity for what they are."""

PARALLEL = EXACT | {"parallel": True, "cache": True}
"""Kernels over Gaussians, called from Python."""

SERIAL = EXACT | {"cache": True}
"""Kernels called from Python that run on one core."""

FAST = _COMMON | {"fastmath": {"contract", "nsz", "arcp", "nnan"}, "forceinline": True}
"""The blending loops over pixels, where everything is finite and selects must become vector instructions."""

ADDING = FAST | {"fastmath": FAST["fastmath"] | {"reassoc"}}
"""Sums over lanes, which only become vector instructions when their order is left to the compiler."""

FAST_PARALLEL = _COMMON | {"fastmath": FAST["fastmath"], "parallel": True, "cache": True}
"""Kernels over tiles, called from Python."""

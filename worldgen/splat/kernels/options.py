"""How the rasteriser's numba kernels are compiled.

Numba's cache watches the file that a function stands in and no other. So a kernel file is one compilation unit: its
kernels call helpers of the same file and take nothing from elsewhere but these options. After a change here, delete
the `__pycache__` folders (or touch the kernel files).

Helpers whose rounding is left to the compiler are inlined by force. Else a process that has just compiled a kernel
calls the helper as it was compiled by itself, and a process that reads the kernel from the cache calls the copy within
it: with other fused multiply-adds, which the fit then makes another world of.
"""

from typing import Any

_COMMON: dict[str, Any] = {"boundscheck": False, "error_model": "numpy"}

_EXACT: dict[str, Any] = _COMMON | {"fastmath": {"contract", "nsz"}}

EXACT = _EXACT | {"forceinline": True}
"""Helpers that must see NaN and infinity for what they are."""

PARALLEL = _EXACT | {"parallel": True, "cache": True}
"""Kernels over Gaussians, called from Python."""

SERIAL = _EXACT | {"cache": True}
"""Kernels called from Python that run on one core."""

FAST = _COMMON | {"fastmath": {"contract", "nsz", "arcp", "nnan"}, "forceinline": True}
"""The blending loops over pixels, where everything is finite and selects must become vector instructions."""

ADDING = FAST | {"fastmath": FAST["fastmath"] | {"reassoc"}}
"""Sums over lanes, which only become vector instructions when their order is left to the compiler."""

FAST_PARALLEL = _COMMON | {"fastmath": FAST["fastmath"], "parallel": True, "cache": True}
"""Kernels over tiles, called from Python."""

"""Which fields of view a photo's pinhole camera can have. Imports nothing heavy: settings are checked by it."""

from worldgen.errors import expect

MIN_DEG, MAX_DEG = 10.0, 150.0


def check_fov(deg: float, key: str = "fov_deg") -> float:
    """A horizontal field of view, degrees, that a pinhole camera can have. Raises UserError naming `key`."""
    fits = not isinstance(deg, bool) and isinstance(deg, int | float) and MIN_DEG < deg < MAX_DEG
    expect(key, repr(deg), fits, f"more than {MIN_DEG:g} and less than {MAX_DEG:g} degrees")
    return float(deg)

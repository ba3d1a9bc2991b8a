"""Pictures that show nothing: a black frame, a render of emptiness. Metrics find no fault in them, or no number."""

from torch import Tensor

from worldgen.errors import UserError

_SAME = 0.5 / 255  # values so near are one value in 8 bits


def expect_texture(rgb: Tensor) -> Tensor:
    """The picture [3, H, W] itself. Raises UserError where it has a single colour, which no metric can judge."""
    darkest, brightest = rgb.amin(dim=(1, 2)), rgb.amax(dim=(1, 2))
    if bool((brightest - darkest < _SAME).all()):
        colour = " ".join(f"{255 * float(value):.0f}" for value in darkest)
        raise UserError(f"flat: every pixel is {colour}, wanted a picture")
    return rgb

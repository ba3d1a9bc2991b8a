"""Step 2, prompts: which of the scene's texts a view is painted by (paper, "Prompts")."""

from worldgen.types import Camera, Prompt, Prompts

_STEEP = 0.5  # sine of the pitch from which on a view shows sky or ground more than what stands between


def prompt_for(camera: Camera, prompts: Prompts) -> Prompt:
    """Sky and ground have their own words, from 30 degrees above and below the horizon on."""
    down = float(camera.c2w[1, 2])
    if abs(down) < _STEEP:
        return prompts.of("atmosphere")
    return prompts.of("ground" if down > 0 else "sky")

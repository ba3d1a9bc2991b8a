"""The steps of the recipe, in the paper's order: their names stand here once, with what each reads and leaves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepSpec:
    """name: its subfolder; title: for the person; groups: config groups that decide its result; inputs: steps whose
    files it reads; outputs: files worth a link at the top of the run folder; editable: whether a file that was changed
    is a person's edit, to be kept, or damage, to be made again; version: raised when its code comes to make something
    else of the same inputs."""

    name: str
    title: str
    groups: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    editable: bool = True
    version: int = 1


FOV, PROMPTS, PANORAMA, REFINE, DEPTH = "fov", "prompts", "panorama", "refine", "depth"
LIFT, COMPLETE, SPLAT, EXPORT = "lift", "complete", "splat", "export"

STEPS = (
    StepSpec(FOV, "the photo's field of view", ("fov", "fov_deg"), version=2),
    StepSpec(PROMPTS, "what the scene is", ("prompts",)),
    StepSpec(PANORAMA, "a panorama round the photo", ("panorama", "inpainter"), (FOV, PROMPTS), ("panorama.png",)),
    StepSpec(REFINE, "finer detail", ("refine",), (PROMPTS, PANORAMA), ("panorama.png",)),
    StepSpec(DEPTH, "metric distances", ("depth",), (PROMPTS, PANORAMA, REFINE), ("distance.png",)),
    StepSpec(LIFT, "a point cloud", ("lift",), (PANORAMA, REFINE, DEPTH), editable=False, version=2),
    StepSpec(
        COMPLETE,
        "what the photo's place hides",
        ("complete", "completer", "view_depth"),
        (PROMPTS, LIFT),
        editable=False,
        version=2,
    ),
    StepSpec(
        SPLAT,
        "Gaussian splats",
        ("splat", "views"),
        (FOV, PANORAMA, REFINE, LIFT, COMPLETE),
        editable=False,
        version=2,
    ),
    StepSpec(
        EXPORT,
        "files to look at",
        ("export",),
        (FOV, DEPTH, LIFT, COMPLETE, SPLAT),
        ("world.ply", "world.spz", "world.sog", "points.ply", "world.html", "world_vr.html", "flythrough.mp4"),
        version=2,
    ),
)

"""Files that W&B keeps of a world, on request: its panorama, its splats, the weights that made them; and the photo.

In W&B's graph the photo and the weights lead to the world's run, and that to the panorama and the splats; an
evaluation takes these up and leads to its scores. Within one run W&B tells no outputs from each other: what a file was
made from is in its artifact's metadata, as `made_from`. Offline W&B takes no inputs: there the metadata tell alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from worldgen.paths import cache_dir, user_path
from worldgen.runs.folder import StepResult
from worldgen.runs.record import StepRecord
from worldgen.runs.steps_table import PANORAMA, REFINE, SPLAT

if TYPE_CHECKING:
    import wandb

ArtifactName = Literal["panorama", "splats", "weights"]
ARTIFACT = "artifact/"
"""Begins the keys by which a folder's identity says that W&B has them."""
_OF_STEP: dict[str, tuple[ArtifactName, tuple[str, ...]]] = {
    PANORAMA: ("panorama", ("panorama.png", "photo_mask.png")),
    REFINE: ("panorama", ("panorama.png",)),
    SPLAT: ("splats", ("gaussians.safetensors",)),
}
_SHORT = 16


def log_artifacts(
    run: "wandb.Run", asked: Sequence[str], result: StepResult, record: StepRecord, photo: Path
) -> list[str]:
    """Logs those of a step's files that are asked for; returns the names of the artifacts. Weights are looked for at
    the places that the step's record names, and in the cache; those that are not there any more are left out."""
    names: list[str] = []
    if "weights" in asked:
        for place, sha256 in record.assets.items():
            if path := _weights_at(place):
                names.append(
                    _log(run, "weights", sha256[:_SHORT], [path], {"place": place, "sha256": sha256}, is_input=True)
                )
    name, files = _OF_STEP.get(result.name, (None, ()))
    there = [result.path / file for file in files if (result.path / file).is_file()]
    if name not in asked or not there:
        return names
    made_from = {"step": result.name, "photo_sha256": record.photo_sha256}
    made_from |= {f"{step}_files_sha256": content for step, content in record.inputs.items()}
    if name == "panorama" and photo.is_file():
        facts = {"sha256": record.photo_sha256}
        names.append(_log(run, "photo", record.photo_sha256[:_SHORT], [photo], facts, is_input=True))
    if name == "splats" and "panorama" in asked:
        made_from["panorama"] = artifact_name("panorama", run.id)
    names.append(_log(run, str(name), run.id, there, {"made_from": made_from}, is_input=False))
    return names


def artifact_name(kind: str, identity: str) -> str:
    """`panorama-<the run's id>`: W&B's names are the project's, not the run's."""
    return f"{kind}-{identity}"


def log_outputs(
    run: "wandb.Run", kind: str, paths: Sequence[Path], metadata: Mapping[str, Any], copied: bool = False
) -> str:
    """Files, and folders with all in them, as what a run made; returns the artifact's name. copied: by wandb, for they
    will not stay where they are."""
    return _log(run, kind, run.id, paths, metadata, is_input=False, copied=copied)


def _log(
    run: "wandb.Run",
    kind: str,
    identity: str,
    paths: Sequence[Path],
    metadata: Mapping[str, Any],
    *,
    is_input: bool,
    copied: bool = False,
) -> str:
    import wandb

    artifact = wandb.Artifact(artifact_name(kind, identity), type=kind, metadata=dict(metadata))
    for path in paths:
        if path.is_dir():
            artifact.add_dir(str(path), policy="mutable" if copied else "immutable")
        else:
            artifact.add_file(str(path), policy="mutable" if copied else "immutable")
    if not is_input:
        run.log_artifact(artifact)
    elif not run.offline:
        run.use_artifact(artifact)
    return artifact.name


def _weights_at(place: str) -> Path | None:
    """place: as a step's record names weights; see `contents.contents_of` and `assets.used_by`."""
    return next((path for path in (user_path(place), cache_dir() / place) if path.exists()), None)

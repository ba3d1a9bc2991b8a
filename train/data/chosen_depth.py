"""The depth of single views in metres, by what a config's group `depth` says."""

from omegaconf import DictConfig

from train.data.metric_depth import MetricDepth
from worldgen.config import choice, choices, instantiate
from worldgen.errors import UserError
from worldgen.recipe.depth import ViewMergedDepth


def chosen_depth(config: DictConfig) -> MetricDepth:
    """Of the networks of `config.depth`, where `config.runtime` says. Raises UserError for one of whole panoramas."""
    found = instantiate(config.depth)
    if not isinstance(found, ViewMergedDepth):
        kind = f"{ViewMergedDepth.__module__}.{ViewMergedDepth.__qualname__}"
        fit = [name for name in choices("depth") if choice("depth", name)["_target_"] == kind]
        raise UserError(f"depth: {type(found).__name__} looks at panoramas, wanted one of views: {', '.join(fit)}")
    return MetricDepth(found.shape, found.metric, instantiate(config.runtime))

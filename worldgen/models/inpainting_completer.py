"""Completion by an inpainter alone, which sees of the world what the view's own known pixels show."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from worldgen.geometry.fill import push_pull
from worldgen.models.protocols import CompleteViews, Composite, Inpainter, Lifetime, ViewCompleter
from worldgen.types import CompletedView, IncompleteView, PointCloud, Prompt, Prompts, View


@dataclass(frozen=True)
class InpaintingCompleter(Composite, ViewCompleter):
    """Paints all that is unknown of views with holes, and leaves their depth to the recipe; pinholes of views without
    holes take the colours around them."""

    inpainter: Inpainter

    def parts(self) -> Sequence[Lifetime]:
        """The network."""
        return (self.inpainter,)

    def begin(self, cloud: PointCloud, prompts: Prompts) -> CompleteViews:
        """See `protocols.ViewCompleter`; the scene itself tells it nothing."""
        del cloud, prompts
        return self._completed

    def _completed(
        self, views: Sequence[IncompleteView], prompts: Sequence[Prompt], seeds: Sequence[int]
    ) -> list[CompletedView]:
        """See `protocols.CompleteViews`."""
        chosen = [number for number, one in enumerate(views) if one.holes.any()]
        completed = [CompletedView(_closed(one.view), one.holes) for one in views]
        if chosen:
            rgb = torch.stack([views[number].view.rgb for number in chosen])
            known = torch.stack([views[number].view.known for number in chosen])
            asked, drawn = [prompts[number] for number in chosen], [seeds[number] for number in chosen]
            painted = torch.where(known[:, None], rgb, self.inpainter(rgb, known.float(), asked, drawn))
            for number, picture in zip(chosen, painted, strict=True):
                whole = View(views[number].view.camera, picture, torch.ones_like(views[number].holes))
                completed[number] = CompletedView(whole, views[number].holes)
        return completed


def _closed(view: View) -> View:
    """The view with some colour everywhere, and no more points than before."""
    filled = push_pull(view.rgb, view.known)
    return View(view.camera, torch.where(view.known, view.rgb, filled), view.known, view.distance)

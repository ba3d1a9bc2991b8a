"""Protocols for photos whose surroundings are known: crops of real 360° panoramas. The paper has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from eval.protocols.base import Protocol, photo_name
from eval.protocols.file_names import shown
from eval.protocols.outputs import Item, Output, lossy_note, pictures_in
from eval.protocols.panorama_views import PanoramaProtocol, expect_panoramas, panorama_of
from eval.protocols.picture_sources import FlatPanorama, PanoramaView, content_size
from eval.protocols.pictures import Source
from worldgen.errors import UserError
from worldgen.paths import user_path


@dataclass(frozen=True, kw_only=True)
class _AgainstTruth(Protocol):
    """truth: a folder of true panoramas, named as the photos are, each with the photo's place in its middle."""

    truth: str | None = None

    def examine(self, method: str, path: str | Path) -> Output:
        """Raises UserError where there is nothing to score, or no truth."""
        assert self._truths
        return super().examine(method, path)

    def truth_of(self, item: Item, look: Source) -> Source:
        assert isinstance(look, FlatPanorama | PanoramaView)
        return replace(look, path=self.true_panorama(item))

    def true_panorama(self, item: Item) -> Path:
        """Raises UserError where there is none of that name."""
        if photo_name(item) not in self._truths:
            raise UserError(f"no true panorama {photo_name(item)}.* in {self.truth}")
        return self._truths[photo_name(item)]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return lossy_note(items)

    @cached_property
    def _truths(self) -> Mapping[str, Path]:
        if self.truth is None:
            raise UserError(
                "protocol.truth: missing, wanted a folder of true panoramas (python -m eval.data panoramas)"
            )
        found = {shown(path.stem): path for path in pictures_in(user_path(self.truth))}
        if not found:
            raise UserError(f"protocol.truth: {self.truth} holds no pictures, wanted a folder of true panoramas")
        return found


@dataclass(frozen=True, kw_only=True)
class TruthViewsProtocol(_AgainstTruth, PanoramaProtocol):
    """Perspective views of a panorama, each beside the same view of the true one."""

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        self.true_panorama(item)
        return PanoramaProtocol.looks(self, item)


@dataclass(frozen=True, kw_only=True)
class TruthProtocol(_AgainstTruth):
    """The whole panorama, flat, beside the true one, at the true one's size."""

    def expect_kind(self, output: Output) -> None:
        expect_panoramas(output, self.name)

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        width, _ = content_size(self.true_panorama(item))
        return [(f"{item.frame} panorama".strip(), FlatPanorama(panorama_of(item), width))]

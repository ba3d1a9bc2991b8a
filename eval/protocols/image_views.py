"""Protocols of pictures that are scored as they stand in their files, alone or beside the true ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.protocols.base import WHOLE_PICTURE, Protocol, expect_kind_of
from eval.protocols.methods import examine
from eval.protocols.outputs import Item, Output, lossy_note, size_note
from eval.protocols.pairs import PREDICTED, TRUE, examine_pairs, paired
from eval.protocols.picture_sources import ImageFile
from eval.protocols.pictures import Source
from worldgen.errors import UserError

HELD_OUT_DIR = "held_out"  # of a run's step `splat`


@dataclass(frozen=True, kw_only=True)
class ImagesProtocol(Protocol):
    """Pictures as they stand in their files."""

    def expect_kind(self, output: Output) -> None:
        expect_kind_of(output, ("images", "panoramas", "frames"), self.name, "pictures")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(item.frame or WHOLE_PICTURE, ImageFile(item.path))]

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return size_note(items)


@dataclass(frozen=True, kw_only=True)
class ConditioningProtocol(ImagesProtocol):
    """Views beside their true ones. truth: the folder of true views; None = <path>/true, beside <path>/pred."""

    truth: str | None = None

    def examine(self, method: str, path: str | Path) -> Output:
        return examine_pairs(method, path, self.truth)

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return (*size_note(items), *lossy_note(items))


@dataclass(frozen=True, kw_only=True)
class HeldOutProtocol(Protocol):
    """The held-out views of our fits, beside the true ones. A run's image is its scene, with the seed where there are
    several; a run of which one view cannot be compared fails whole: its mean would be one over other views."""

    def expect_kind(self, output: Output) -> None:
        expect_kind_of(output, ("runs",), self.name, "run folders of python -m train.splat")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        return [(view.image, ImageFile(view.path)) for view in self._pairs(item).items]

    def truth_of(self, item: Item, look: Source) -> Source:
        assert isinstance(look, ImageFile)
        return ImageFile(look.path.parent.parent / TRUE / look.path.name)

    def _pairs(self, item: Item) -> Output:
        assert item.run
        if "splat" not in item.run.finished:
            raise UserError(item.run.why_without("splat"))
        folder = item.path / "splat" / HELD_OUT_DIR
        if not folder.is_dir():
            raise UserError(f"no splat/{HELD_OUT_DIR}: its scene holds no views out")
        pairs = paired(*(examine(item.label, folder / name) for name in (PREDICTED, TRUE)))
        for name, why in pairs.failed.items():
            raise UserError(f"splat/{HELD_OUT_DIR}: {name}: {why}")
        return pairs

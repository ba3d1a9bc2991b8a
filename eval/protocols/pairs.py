"""Views beside the true ones: two folders whose pictures have the same names, or <path>/pred and <path>/true."""

from dataclasses import replace
from pathlib import Path

from eval.protocols.methods import examine
from eval.protocols.outputs import Item, Output
from worldgen.errors import UserError
from worldgen.paths import user_path

PREDICTED, TRUE = "pred", "true"


def examine_pairs(method: str, path: str | Path, truth: str | Path | None = None) -> Output:
    """What a method made of which the truth is known; its items' `truth` is set.

    truth: the folder of true views; None = <path>/true, beside <path>/pred. Raises UserError where there is no pair.
    """
    place = user_path(path)
    if truth is None and not all((place / name).is_dir() for name in (PREDICTED, TRUE)):
        wanted = f"wanted both {PREDICTED}/ and {TRUE}/ in it, or protocol.truth=<folder>"
        raise UserError(f"methods.{method}: {path} holds no pairs of views, {wanted}")
    predicted = examine(method, place / PREDICTED if (place / PREDICTED).is_dir() else place)
    return paired(replace(predicted, path=str(path)), examine(method, truth or place / TRUE))


def paired(predicted: Output, true: Output) -> Output:
    """The first output, where the second has a picture of the same name and size; the others are named in `failed`."""
    for output in (predicted, true):
        if output.kind in ("runs", "splats"):
            raise UserError(f"methods.{output.method}: {output.path} holds {output.kind}, wanted pictures")
    partners = {(item.image, item.frame): item for item in true.items}
    known = {(item.image, item.frame) for item in predicted.items}
    failed = predicted.failed | {f"{TRUE}/{name}": why for name, why in true.failed.items()}
    failed |= {
        item.label: "a true view, but none of the method's" for key, item in partners.items() if key not in known
    }
    items = []
    for item in predicted.items:
        partner = partners.get((item.image, item.frame))
        if why := _why_no_pair(item, partner):
            failed[item.label] = why
        elif partner:
            items.append(replace(item, truth=partner.path))
    if not items:
        name, why = next(iter(failed.items()))
        raise UserError(f"methods.{predicted.method}: {predicted.path}: no pair of views; {name}: {why}")
    notes = (*predicted.notes, *(f"true views: {note}" for note in true.notes))
    return replace(predicted, items=tuple(items), failed=failed, notes=notes)


def _why_no_pair(item: Item, partner: Item | None) -> str:
    if partner is None:
        return "no true view of that name"
    if item.size and partner.size and item.size != partner.size:
        return f"{_size_text(item.size)} pixels, but its true view has {_size_text(partner.size)}"
    return ""


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"

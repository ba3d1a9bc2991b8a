"""A folder of photos, each of them read as a run would read it: what is broken is found before a sweep begins."""

from pathlib import Path

from worldgen.errors import UserError
from worldgen.io.photo import load_photo
from worldgen.io.photo_folder import photos_in


def check_photos(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """({name: photo}, {file name: why it cannot be used}). Raises UserError where no photo is left.

    A name is the file's without its suffix, as a run's is; of two photos with one name the second cannot be used.
    """
    sound: dict[str, Path] = {}
    broken: dict[str, str] = {}
    for path in photos_in(folder):
        try:
            load_photo(path)
        except UserError as error:
            broken[path.name] = str(error).removeprefix(f"{path}: ")
            continue
        if path.stem in sound:
            broken[path.name] = f"has the name of {sound[path.stem].name}, by which photos are told apart"
        else:
            sound[path.stem] = path
    if not sound:
        name, why = next(iter(broken.items()))
        raise UserError(f"{folder}: none of {len(broken)} photos can be used; {name}: {why}")
    return sound, broken

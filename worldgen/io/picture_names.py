"""Where a picture lies that another tool names: without its suffix, with a Windows path, in other capitals, or only
reduced."""

from pathlib import Path

from worldgen.io import packed

_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".exr",
)  # in this order; what Blender writes first
_REDUCED = ("_2", "_4", "_8")  # the finest first


def or_reduced(folder: Path) -> Path:
    """A folder of pictures, or the one beside it that holds them reduced, where only that is there: nerfstudio's
    images_2, images_4 or images_8. DL3DV-10K comes with images_4 (960P) or images_8, and the poses of `images`."""
    if packed.is_dir(folder):
        return folder
    beside = (folder.with_name(folder.name + suffix) for suffix in _REDUCED if folder.name)
    return next((one for one in beside if packed.is_dir(one)), folder)


class PictureFiles:
    """The pictures below a folder, which may lie in a zip; what each folder holds is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> Path:
        """The file that `name` means; where there is none, the one that it would be."""
        plain = self.root / name
        if packed.is_file(plain):
            return plain
        path = self.root / name.replace("\\", "/")
        path = or_reduced(path.parent) / path.name
        there = self._listing(path.parent)
        for wanted in (path.name, *(path.name + suffix for suffix in _SUFFIXES)):
            if found := there.get(wanted.lower()):
                return path.parent / found
        return path

    def _listing(self, folder: Path) -> dict[str, str]:
        """Names in small letters, and as they are."""
        if folder not in self._names:
            names = sorted(packed.file_names(folder), reverse=True)
            self._names[folder] = {name.lower(): name for name in names}
        return self._names[folder]

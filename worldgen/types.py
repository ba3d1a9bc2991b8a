"""The values that the recipe's steps hand to each other: frozen, with shapes, frames and units stated.

Cameras follow OpenCV (x right, y down, z forward); distances are in metres; images are float32 sRGB in [0, 1],
`[3, H, W]`; masks are bool, True = known. The world's origin is the panorama's centre and +z the photo's centre.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from worldgen import _vector_math as _vector_math  # before any thread computes


def _expect(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    """Raises ValueError unless `tensor` has `shape`; None stands for any length."""
    found = tuple(tensor.shape)
    fits = len(found) == len(shape) and all(want in (None, got) for want, got in zip(shape, found, strict=True))
    if not fits:
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: shape {list(found)}, wanted [{wanted}]")


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera. Pixel centres lie at +0.5.

    c2w: [4, 4] float32, camera to world, OpenCV axes, metres; on the CPU as a rule,
    wherever the pictures are.
    fx, fy, cx, cy: pixels.
    """

    c2w: Tensor
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        _expect("Camera.c2w", self.c2w, (4, 4))

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float, c2w: Tensor | None = None) -> "Camera":
        """Square pixels, centred principal point; `fov_deg` is the horizontal field of view.

        c2w: [4, 4], camera to world, of any precision; the identity, on the CPU, if None.
        """
        focal = 0.5 * width / math.tan(math.radians(fov_deg) / 2)
        pose = torch.eye(4, device="cpu") if c2w is None else c2w.to(torch.float32)
        return cls(pose, width, height, focal, focal, width / 2, height / 2)

    @property
    def fov_deg(self) -> float:
        """Horizontal field of view."""
        return 2 * math.degrees(math.atan(0.5 * self.width / self.fx))

    @property
    def position(self) -> Tensor:
        """[3], metres, world frame."""
        return self.c2w[:3, 3]

    @property
    def w2c(self) -> Tensor:
        """[4, 4], world to camera, where c2w is and as precise."""
        inverse = torch.eye(4, dtype=self.c2w.dtype, device=self.c2w.device)
        rotation = self.c2w[:3, :3].T
        inverse[:3, :3] = rotation
        inverse[:3, 3] = -rotation @ self.c2w[:3, 3]
        return inverse

    @property
    def intrinsics(self) -> Tensor:
        """[3, 3], pixels, float32, where c2w is."""
        rows = [[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]]
        return torch.tensor(rows, device=self.c2w.device)

    def resized(self, width: int, height: int) -> "Camera":
        """The same view at another resolution."""
        sx, sy = width / self.width, height / self.height
        return Camera(self.c2w, width, height, self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy)


@dataclass(frozen=True, eq=False)
class View:
    """A perspective picture. rgb: [3, H, W]; known: bool [H, W]; distance: [H, W] metres along the ray, if any.

    background: [3], what rgb shows where the world is empty; None = black, or the world is empty nowhere.
    """

    camera: Camera
    rgb: Tensor
    known: Tensor
    distance: Tensor | None = None
    background: Tensor | None = None

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        _expect("View.rgb", self.rgb, (3, *size))
        _expect("View.known", self.known, size)
        if self.distance is not None:
            _expect("View.distance", self.distance, size)

    @property
    def measured(self) -> Tensor:
        """The distance [H, W] of a view that has one. Raises ValueError for others."""
        if self.distance is None:
            raise ValueError("View.distance: none, wanted a view with distances")
        return self.distance


@dataclass(frozen=True, eq=False)
class IncompleteView:
    """view: what is known of it, with distances; holes: bool [H, W], unknown pixels that are worth painting, so all but
    those of pinholes."""

    view: View
    holes: Tensor


@dataclass(frozen=True, eq=False)
class CompletedView:
    """view: what is known of it now; inpainted: bool [H, W], what the inpainter added, without closed pinholes."""

    view: View
    inpainted: Tensor


@dataclass(frozen=True, eq=False)
class ViewDepth:
    """Of a perspective view. zdepth: [H, W] along the optical axis, finite and > 0 where valid; valid: bool [H, W]."""

    zdepth: Tensor
    valid: Tensor

    def __post_init__(self) -> None:
        _expect("ViewDepth.valid", self.valid, tuple(self.zdepth.shape))


@dataclass(frozen=True, eq=False)
class PosedDepth:
    """What a network finds out about one of several frames: its camera, in a world and a unit that all of them share,
    what it sees in that unit, and how sure that is: [H, W], more is surer, in no unit."""

    camera: Camera
    depth: ViewDepth
    sure: Tensor

    def __post_init__(self) -> None:
        _expect("PosedDepth.depth", self.depth.zdepth, (self.camera.height, self.camera.width))
        _expect("PosedDepth.sure", self.sure, (self.camera.height, self.camera.width))


@dataclass(frozen=True)
class Fov:
    """deg: horizontal field of view of the upright photo. source: where the value comes from, for a person."""

    deg: float
    source: str


@dataclass(frozen=True, eq=False)
class Panorama:
    """An equirectangular picture, W = 2H. rgb: [3, H, W]; photo: bool [H, W], True where the photo's own pixels lie.

    guesses: see `models.protocols.Prefilled`; known of a panorama that was just made, none of one that was read.
    """

    rgb: Tensor
    photo: Tensor
    guesses: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width = self.photo.shape
        _expect("Panorama.rgb", self.rgb, (3, height, width))
        if width != 2 * height:
            raise ValueError(f"Panorama: {width}x{height} pixels, wanted twice as wide as high")


@dataclass(frozen=True, eq=False)
class DistanceMap:
    """Distances along the ray over an equirectangular grid. distance: [H, W] metres, finite, > 0; sky: bool [H, W]."""

    distance: Tensor
    sky: Tensor

    def __post_init__(self) -> None:
        _expect("DistanceMap.sky", self.sky, tuple(self.distance.shape))


class Prompt(NamedTuple):
    """What one view is painted by. text: what it shows; negative: what it shall not show, "" = nothing is said."""

    text: str
    negative: str = ""


PromptName = Literal["atmosphere", "sky", "ground"]


@dataclass(frozen=True, eq=False)
class Prompts:
    """What the inpainter is told: coarse atmosphere, sky or ceiling, ground or floor (paper, "Prompts").

    negative: what no view shall show; "" = nothing is said.
    """

    atmosphere: str
    sky: str
    ground: str
    indoor: bool
    source: str
    negative: str = ""

    def of(self, name: PromptName) -> Prompt:
        """The prompt of that name, and what no view shall show."""
        return Prompt(getattr(self, name), self.negative)


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Coloured points, world frame.

    xyz: [N, 3] metres; rgb: [N, 3] in [0, 1]; normals: [N, 3] unit, towards the viewer that saw the point;
    spacing: [N] metres, the distance to its neighbours on the surface (the size that one point should cover);
    sky: bool [N], True on the far shell that stands for the sky; all False if None is given.
    """

    xyz: Tensor
    rgb: Tensor
    normals: Tensor
    spacing: Tensor
    sky: Tensor = None  # type: ignore[assignment]  # never None once __post_init__ is through

    def __post_init__(self) -> None:
        count = len(self.xyz)
        if self.sky is None:
            object.__setattr__(self, "sky", torch.zeros(count, dtype=torch.bool, device=self.xyz.device))
        _expect("PointCloud.sky", self.sky, (count,))
        _expect("PointCloud.xyz", self.xyz, (count, 3))
        _expect("PointCloud.rgb", self.rgb, (count, 3))
        _expect("PointCloud.normals", self.normals, (count, 3))
        _expect("PointCloud.spacing", self.spacing, (count,))

    def __len__(self) -> int:
        return len(self.xyz)

    def __getitem__(self, index: Tensor | slice) -> "PointCloud":
        return PointCloud(self.xyz[index], self.rgb[index], self.normals[index], self.spacing[index], self.sky[index])

    def __add__(self, other: "PointCloud") -> "PointCloud":
        return PointCloud.joined([self, other])

    @classmethod
    def empty(cls) -> "PointCloud":
        """No points."""
        return cls(torch.empty(0, 3), torch.empty(0, 3), torch.empty(0, 3), torch.empty(0))

    @classmethod
    def joined(cls, clouds: "Sequence[PointCloud]") -> "PointCloud":
        """One cloud of one or more, in their order."""
        columns = ([getattr(cloud, name) for cloud in clouds] for name in ("xyz", "rgb", "normals", "spacing", "sky"))
        return cls(*map(torch.cat, columns))


@dataclass(frozen=True, eq=False)
class Visit:
    """What came of looking at a scene from one camera. points: those that it adds; completed: None where there was
    nothing worth a picture; unmeasured: painted pixels that no point came of, because nobody knows their depth."""

    points: PointCloud
    completed: CompletedView | None = None
    unmeasured: int = 0


@dataclass(frozen=True, eq=False)
class SupervisionView:
    """A picture that the splats are fitted to.

    rgb: [3, H, W]; weight: [H, W] >= 0, what each pixel counts (0 = never looked at); generated: True for completed
    views, which may disagree with each other and so may be distorted; False for views of the panorama. alpha: [H, W]
    in [0, 1] where parts of the picture are empty, None = nothing is; `rgb` is then over black.
    """

    camera: Camera
    rgb: Tensor
    weight: Tensor
    generated: bool
    alpha: Tensor | None = None

    def over(self, background: Tensor) -> Tensor:
        """[3, H, W], the picture over a background [3], as a render over the same one is to look."""
        return self.rgb if self.alpha is None else self.rgb + (1 - self.alpha) * background[:, None, None]

    def to(self, device: torch.device) -> "SupervisionView":
        """The same, with its pictures on another device."""
        alpha = None if self.alpha is None else self.alpha.to(device)
        return replace(self, rgb=self.rgb.to(device), weight=self.weight.to(device), alpha=alpha)


@dataclass(frozen=True)
class WorldFrame:
    """How a scene lies in the world that its files speak of: theirs = scale * ours + offset; the axes are the same."""

    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Scene:
    """Posed pictures, and points to start from.

    name: what its results are called; views: what is fitted; held_out: what is compared with afterwards, never fitted,
    `known` where it counts; frame: of a scene that was moved and scaled to be fitted; guessed: the points were drawn at
    random, nobody knows what is there. source: names all that the scene follows from, files by their hashes, so that it
    is known again where float32 is rounded otherwise; "" = nobody knows. `views` may read pictures from disk as they
    are asked for: whoever takes them holds a few at a time.
    """

    name: str
    cloud: PointCloud
    views: Sequence[SupervisionView]
    held_out: Sequence[View] = ()
    frame: WorldFrame = WorldFrame()
    guessed: bool = False
    source: str = ""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """3D Gaussians as gsplat has them.

    means: [N, 3] metres, world; quats: [N, 4] wxyz, need not be unit; log_scales: [N, 3] natural log of metres;
    opacity_logits: [N]; sh: [N, K, 3] real spherical harmonics, K = (degree + 1)^2. antialiased: they were fitted with
    Mip-Splatting's compensation, and must be rendered so (`splat/rasterize.py`).
    """

    means: Tensor
    quats: Tensor
    log_scales: Tensor
    opacity_logits: Tensor
    sh: Tensor
    antialiased: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        count = len(self.means)
        _expect("Gaussians.means", self.means, (count, 3))
        _expect("Gaussians.quats", self.quats, (count, 4))
        _expect("Gaussians.log_scales", self.log_scales, (count, 3))
        _expect("Gaussians.opacity_logits", self.opacity_logits, (count,))
        _expect("Gaussians.sh", self.sh, (count, None, 3))

    def __len__(self) -> int:
        return len(self.means)

    def tensors(self) -> dict[str, Tensor]:
        """Name to tensor [N, ...], in a fixed order."""
        return {
            "means": self.means,
            "quats": self.quats,
            "log_scales": self.log_scales,
            "opacity_logits": self.opacity_logits,
            "sh": self.sh,
        }

    def map(self, change: Callable[[Tensor], Tensor]) -> "Gaussians":
        """What `change` makes of each tensor [N, ...]: a choice of rows, another device."""
        means, quats, log_scales, opacity_logits, sh = map(change, self.tensors().values())
        return Gaussians(means, quats, log_scales, opacity_logits, sh, antialiased=self.antialiased)

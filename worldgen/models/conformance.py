"""Holds adapters to their contracts (`protocols.py`). A test of an adapter is one call:

    def test_it_keeps_its_contract():
        check_inpainter(MyInpainter(checkpoint=tiny))

Every check loads the adapter, looks at what it answers to small pictures, releases it, and loads it again. What is
wrong is raised as a Violation that names the adapter, what it did and what is wanted.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions
from worldgen.geometry.fill import erode
from worldgen.geometry.fov_range import check_fov
from worldgen.geometry.points import render_points
from worldgen.io.photo import Photo
from worldgen.io.photo_exif import Lens
from worldgen.models import protocols
from worldgen.models.protocols import REPAINTED_PX
from worldgen.models.runtime import Runtime
from worldgen.types import (
    Camera,
    CompletedView,
    DistanceMap,
    IncompleteView,
    Panorama,
    PointCloud,
    Prompt,
    Prompts,
    View,
    ViewDepth,
)

HEIGHT, WIDTH = 96, 128
_BATCH_TOLERANCE = 2 / 255  # what rounding may differ by where pictures are painted together or one by one
_EIGHT_BITS = 1e-3  # of a step of 8 bits: float32's own rounding
_SAME = 0.5 / 255 + 1e-6
_PROMPTS = Prompts("a meadow in even light", "blue sky", "green ground", indoor=False, source="conformance")


class Violation(AssertionError):
    """An adapter does not do what its contract says."""


def check_fov_estimator(adapter: protocols.FovEstimator) -> None:
    """Degrees within the range, and where they come from, of a photo with a lens and one without."""
    for lens in (Lens(), Lens(focal_35mm=28)):
        photo = Photo(picture(), Path("photo.jpg"), "0" * 64, lens)
        fov = _twice(adapter, partial(adapter, photo))
        try:
            check_fov(fov.deg, "deg")
        except UserError as error:
            raise Violation(f"{_name(adapter)}: {error}") from error
        _expect(adapter, bool(fov.source), "source is empty", "where the value comes from")


def check_prompter(adapter: protocols.Prompter) -> None:
    """Prompts that say something, of photos of several shapes."""
    for rgb in (picture(), picture()[:, :, :48], torch.zeros(3, HEIGHT, WIDTH)):
        prompts = _twice(adapter, partial(adapter, rgb))
        for name in ("atmosphere", "sky", "ground", "source"):
            said = getattr(prompts, name)
            _expect(adapter, isinstance(said, str) and bool(said.strip()), f"{name} is {said!r}", "words")
        _expect(adapter, isinstance(prompts.indoor, bool), f"indoor is {prompts.indoor!r}", "True or False")


def check_inpainter(adapter: protocols.Inpainter, tolerance: float = _BATCH_TOLERANCE) -> None:
    """Shapes, 8 bits, known pixels, soft masks, batches, seeds. tolerance: between a batch and single calls."""
    rgb = torch.stack([picture(), picture(1)])
    known = torch.ones(2, HEIGHT, WIDTH)
    known[0, 30:60, 50:90] = 0
    known[1, :, 80:] = 0
    prompts, seeds = [Prompt("a meadow"), Prompt("a room", negative="people")], [3, 4]
    painted = _twice(adapter, partial(adapter, rgb, known, prompts, seeds))
    _expect_pictures(adapter, painted, rgb)
    far = torch.stack([erode(kept > 0, REPAINTED_PX) for kept in known])[:, None].expand_as(rgb)
    changed = float((painted - rgb)[far].abs().max())
    wanted = f"known pixels farther than {REPAINTED_PX} from a hole as they were"
    _expect(adapter, changed <= _SAME, f"changed known pixels by up to {changed:.4f}", wanted)
    under = adapter(torch.where(known[:, None] == 0, 1 - rgb, rgb), known, prompts, seeds)
    _expect(adapter, torch.equal(under, painted), "looks at what lies in the holes", "it ignored")
    alone = adapter(rgb[1:], known[1:], prompts[1:], seeds[1:])
    _expect_near(adapter, "a picture of a batch, and painted alone", painted[1:], alone, tolerance)
    soft = F.avg_pool2d(known[:1], 5, stride=1, padding=2, count_include_pad=False)
    for masks in (torch.cat([soft, torch.zeros_like(soft)]), torch.ones_like(known)):
        _expect_pictures(adapter, adapter(rgb, masks, prompts, seeds), rgb)


def check_image_to_image(adapter: protocols.ImageToImage, tolerance: float = _BATCH_TOLERANCE) -> None:
    """Shapes, 8 bits, batches, seeds. tolerance: between a batch and single calls."""
    rgb = torch.stack([picture(), picture(1)])
    prompts, seeds = [Prompt("a meadow"), Prompt("a room", negative="people")], [3, 4]
    painted = _twice(adapter, partial(adapter, rgb, prompts, seeds, 0.3))
    _expect_pictures(adapter, painted, rgb)
    alone = adapter(rgb[1:], prompts[1:], seeds[1:], 0.3)
    _expect_near(adapter, "a picture of a batch, and painted alone", painted[1:], alone, tolerance)


def check_depth_estimator(adapter: protocols.DepthEstimator) -> None:
    """Shapes, and that what is called valid is finite and before the camera."""
    camera = Camera.from_fov(WIDTH, HEIGHT, 70.0)
    depth: ViewDepth = _twice(adapter, partial(adapter, picture(), camera))
    _expect_tensor(adapter, "zdepth", depth.zdepth, (HEIGHT, WIDTH), torch.float32)
    _expect_tensor(adapter, "valid", depth.valid, (HEIGHT, WIDTH), torch.bool)
    _expect(adapter, bool(depth.valid.any()), "no pixel is valid", "some")
    _expect_distances(adapter, "zdepth of valid pixels", depth.zdepth[depth.valid])


def check_pose_estimator(adapter: protocols.PoseEstimator) -> None:
    """Shapes, of one frame and of several: rotations, lenses and depths, finite and before the camera."""
    for count in (1, 3):
        rgb = torch.stack([picture(shift) for shift in range(count)])
        found = list(_twice(adapter, partial(adapter, rgb)))
        _expect(adapter, len(found) == count, f"{len(found)} cameras of {count} frames", "one for each")
        for each in found:
            camera, depth = each.camera, each.depth
            _expect_tensor(adapter, "sure", each.sure, (HEIGHT, WIDTH), torch.float32)
            _expect_tensor(adapter, "zdepth", depth.zdepth, (HEIGHT, WIDTH), torch.float32)
            _expect(adapter, bool(depth.valid.any()), "no pixel is valid", "some")
            _expect_distances(adapter, "zdepth of valid pixels", depth.zdepth[depth.valid])
            gap = camera.c2w[:3, :3].T @ camera.c2w[:3, :3] - torch.eye(3)
            upright = float(torch.linalg.det(camera.c2w[:3, :3])) > 0
            _expect(adapter, upright and float(gap.abs().max()) < 1e-4, "c2w is no rotation and place", "one")
            _expect(adapter, min(camera.fx, camera.fy) > 0, f"focal length {camera.fx:g}", "more than 0")


def check_view_completer(adapter: protocols.ViewCompleter, tolerance: float = _BATCH_TOLERANCE) -> None:
    """Of a scene with something in front: what was known stays, what is new lies in the view, batches, seeds, views
    without holes. tolerance: between a batch and single calls."""
    cloud = scene()
    sides = [torch.tensor([-0.8, 0.0, 0.0]), torch.tensor([0.8, 0.0, 0.0])]
    renders = [render_points(cloud, Camera.from_fov(HEIGHT, HEIGHT, 90, look_at(0, 0, side))) for side in sides]
    views = [IncompleteView(_pierced(render), ~render.known) for render in renders]
    prompts, seeds = [Prompt("a meadow"), Prompt("a room", negative="people")], [3, 4]

    def answer(chosen: slice = slice(None)) -> list[CompletedView]:
        return list(adapter.begin(cloud, _PROMPTS)(views[chosen], prompts[chosen], seeds[chosen]))

    completed = _twice(adapter, answer)
    _expect(adapter, len(completed) == len(views), f"{len(completed)} views for {len(views)}", "as many as asked for")
    for incomplete, one in zip(views, completed, strict=True):
        _expect_completed(adapter, incomplete, one)
        _expect(adapter, bool(one.inpainted.any()), "inpainted no hole", "some")
    (alone,) = answer(slice(1, 2))
    _expect_near(adapter, "a view of a batch, and alone", completed[1].view.rgb, alone.view.rgb, tolerance)
    whole = IncompleteView(views[0].view, torch.zeros_like(renders[0].known))
    (unpainted,) = adapter.begin(cloud, _PROMPTS)([whole], prompts[:1], seeds[:1])
    _expect_completed(adapter, whole, unpainted)


def _expect_completed(adapter: object, incomplete: IncompleteView, completed: CompletedView) -> None:
    before, after = incomplete.view, completed.view
    _expect_picture(adapter, after.rgb, before.rgb)
    _expect(adapter, bool((after.known | ~before.known).all()), "known pixels became unknown", "all still known")
    changed = float((after.rgb - before.rgb).abs()[:, before.known].max())
    _expect(adapter, changed <= _SAME, f"changed known pixels by up to {changed:.4f}", "as they were")
    black = int((after.rgb.amax(0) == 0)[~before.known].sum())
    _expect(adapter, black == 0, f"left {black} unknown pixels black", "a whole picture: pinholes are closed, too")
    _expect_tensor(adapter, "inpainted", completed.inpainted, tuple(before.known.shape), torch.bool)
    within = not bool((completed.inpainted & ~(incomplete.holes & after.known)).any())
    _expect(adapter, within, "inpainted beyond the holes, or what is not known now", "within holes and known")
    if after.distance is not None:
        _expect_distances(adapter, "distance of known pixels", after.measured[after.known])
        moved = float((after.measured / before.measured - 1).abs()[before.known].max())
        _expect(adapter, moved < 1e-4, f"moved known pixels by up to {moved:.1%}", "where they were")


def _pierced(view: View) -> View:
    """The same with pinholes."""
    kept = torch.ones_like(view.known)
    kept[3::11, 5::13] = False
    return View(view.camera, view.rgb * kept, view.known & kept, view.measured * kept)


def check_panorama_depth(adapter: protocols.PanoramaDepth) -> None:
    """Shapes, and that every pixel has a distance, whether the prompts say indoors or outdoors."""
    small = panorama()
    for indoor in (False, True):
        prompts = Prompts("a place", "above", "below", indoor, "conformance")
        found: DistanceMap = _twice(adapter, partial(adapter, small, prompts))
        size = tuple(small.photo.shape)
        _expect_tensor(adapter, "distance", found.distance, size, torch.float32)
        _expect_tensor(adapter, "sky", found.sky, size, torch.bool)
        _expect_distances(adapter, "distance", found.distance)


def picture(number: int = 0) -> Tensor:
    """[3, 96, 128] in [0, 1]: smooth waves, others for every number."""
    y, x = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    phases = (torch.arange(3.0) + number)[:, None, None]
    return 0.5 + 0.2 * torch.sin((7 + number) * x + phases) + 0.2 * torch.cos(5 * y - phases)


def panorama() -> Panorama:
    """Blue above green, with a dark wall in front, 128x256."""
    rays = directions(128, 256)
    sky, ground, wall = (torch.tensor(colour) for colour in ((0.4, 0.6, 0.9), (0.3, 0.45, 0.15), (0.35, 0.2, 0.15)))
    rgb = torch.where((rays[..., 1] < 0)[..., None], sky, ground)
    front = (rays[..., 2] > 0.6) & (rays[..., 1].abs() < 0.2)
    rgb = torch.where(front[..., None], wall, rgb) + 0.05 * torch.sin(40 * rays)
    return Panorama(rgb.clamp(0, 1).movedim(-1, 0).contiguous(), torch.zeros(rays.shape[:2], dtype=torch.bool))


def scene() -> PointCloud:
    """The panorama's pixels as points, 4 m away all round but for the wall, which stands at 2 m and hides some."""
    rgb, rays = panorama().rgb.movedim(0, -1).flatten(0, 1), directions(128, 256).flatten(0, 1)
    front = (rays[:, 2] > 0.6) & (rays[:, 1].abs() < 0.2)
    distance = torch.where(front, 2.0, 4.0)
    return PointCloud(rays * distance[:, None], rgb, -rays, distance * torch.pi / 128)


def _twice(adapter: protocols.Lifetime, answer: Callable[[], Any]) -> Any:
    """What the loaded adapter answers; the same when asked again, and when released and loaded again."""
    for name in ("load", "release"):
        _expect(adapter, callable(getattr(adapter, name, None)), f"has no {name}()", "protocols.Lifetime")
    adapter.load(Runtime())
    adapter.load(Runtime())
    first = answer()
    _expect(adapter, _equal(first, answer()), "asked twice answers two things", "the same for the same seed")
    adapter.release()
    adapter.load(Runtime())
    _expect(adapter, _equal(first, answer()), "loaded again answers another thing", "the same")
    return first


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    return one == other


def _expect_pictures(adapter: object, painted: Tensor, rgb: Tensor) -> None:
    """Pictures as those that were given, of values that 8 bits hold."""
    _expect_picture(adapter, painted, rgb)
    off = float((painted * 255 - (painted * 255).round()).abs().max())
    _expect(adapter, off <= _EIGHT_BITS, f"values up to {off:.3f}/255 off a multiple of 1/255", "multiples of 1/255")


def _expect_picture(adapter: object, painted: Tensor, rgb: Tensor) -> None:
    _expect_tensor(adapter, "picture", painted, tuple(rgb.shape), torch.float32)
    _expect(adapter, painted.device == rgb.device, f"answers on {painted.device}", f"{rgb.device}, as asked")
    low, high = float(painted.min()), float(painted.max())
    _expect(adapter, 0 <= low <= high <= 1, f"values from {low:g} to {high:g}", "0 to 1")


def _expect_near(adapter: object, what: str, one: Tensor, other: Tensor, tolerance: float) -> None:
    gap = float((one - other).abs().max())
    _expect(adapter, gap <= tolerance, f"{what}: {gap:.4f} apart", f"at most {tolerance:.4f}")


def _expect_tensor(adapter: object, what: str, found: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    _expect(adapter, tuple(found.shape) == shape, f"{what}: shape {list(found.shape)}", f"{list(shape)}")
    _expect(adapter, found.dtype == dtype, f"{what}: {found.dtype}", str(dtype))


def _expect_distances(adapter: object, what: str, metres: Tensor) -> None:
    fine = bool((metres.isfinite() & (metres > 0)).all())
    _expect(adapter, fine, f"{what}: from {float(metres.min()):g} to {float(metres.max()):g}", "finite and above 0")


def _expect(adapter: object, ok: bool, found: str, wanted: str) -> None:
    if not ok:
        raise Violation(f"{_name(adapter)}: {found}, wanted {wanted}")


def _name(adapter: object) -> str:
    return type(adapter).__name__

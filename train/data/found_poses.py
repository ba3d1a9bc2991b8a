"""Poses, lenses, depths and points of bare frames, by a network, as a scene that training and the fit read."""

import errno
import json
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from train.data.bare_frames import BareScene, upright
from train.data.chained_parts import Joint, Similarity, joined, parts
from train.data.depth_files import save_zdepth
from train.data.images import read_view
from train.data.metric_depth import MetricDepth, NetworkFailedError, network_errors
from worldgen.errors import UserError, expect, expect_whole_numbers
from worldgen.geometry.cameras import unproject, zdepth_to_distance
from worldgen.io.clouds import write_points_ply
from worldgen.io.poses import PosedPicture, leave_out
from worldgen.models.protocols import PoseEstimator
from worldgen.models.runtime import Runtime
from worldgen.progress import Track
from worldgen.runs.disk import landing, locked, write_text
from worldgen.types import Camera, PointCloud, PosedDepth, ViewDepth

TRANSFORMS, DEPTHS, POINTS = "transforms.json", "estimated_depth", "estimated_points.ply"
_LOCK, _MADE = ".lock", "made_by_worldgen"
_GAPS = (attrgetter("turn_deg"), attrgetter("shift"), attrgetter("depth"))
_OPENGL = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))  # nerfstudio's axes


@dataclass(frozen=True)
class PoseSettings:
    """size: pixels of the longer side that frames are reduced to before, and that their depths have. at_once: frames
    that the network sees together; shared: of them, those that the part before has seen. metric_frames: of so many the
    depth is asked in metres, for the unit; 0 = the network's own. unsure: share of a scene's pixels, the least sure
    ones, whose depth is left out. points: in the scene's cloud, at most."""

    size: int = 504
    at_once: int = 24
    shared: int = 6
    metric_frames: int = 8
    unsure: float = 0.1
    points: int = 200_000

    def __post_init__(self) -> None:
        expect_whole_numbers("", self)
        expect("size", self.size, self.size >= 32, "32 pixels or more")
        expect("at_once", self.at_once, self.at_once >= 3, "3 frames or more")
        fits = 2 <= self.shared < self.at_once
        expect("shared", self.shared, fits, f"2 frames or more, fewer than at_once={self.at_once}")
        expect("metric_frames", self.metric_frames, self.metric_frames >= 0, "0 (none) or more")
        expect("unsure", self.unsure, 0 <= self.unsure < 1, "0 or more, below 1")
        expect("points", self.points, self.points >= 1, "1 or more")


@dataclass
class Found:
    """What became of a scene's frames. joints: how well its parts agree; metres: of the network's unit, and the spread
    of that over frames (largest by smallest); None = the network's own unit."""

    frames: int = 0
    bad: int = 0
    joints: list[Joint] = field(default_factory=list)
    metres: float | None = None
    spread: float | None = None
    there: bool = False
    elsewhere: bool = False
    made: dict[str, object] = field(default_factory=dict)
    """What an earlier start noted."""

    def line(self, name: str) -> str:
        """For a person."""
        if self.there:
            how = ", ".join(f"{key} {value}" for key, value in self.made.items())
            return f"{name}: its poses were there before ({how or 'not made by this program'})"
        if self.elsewhere:
            return f"{name}: another process is at it, left to that"
        unit = f"in metres (frames agree to a factor of {self.spread:.2f})" if self.metres else "in a unit of its own"
        bad = f", {self.bad} that cannot be used" * bool(self.bad)
        turn, shift, depth = (max((of(one) for one in self.joints), default=0.0) for of in _GAPS)
        gap = f"; its {len(self.joints) + 1} parts meet to {turn:.1f} degrees, places to {shift:.1%} of the depth, and "
        gap += f"depths to {depth:.1%}"
        return f"{name}: {self.frames} frames posed, {unit}{bad}{gap * bool(self.joints)}"


@dataclass(frozen=True)
class PoseMaker:
    """Writes transforms.json, a depth for each frame and a cloud of points into scenes that lack poses.

    metric: tells the unit in metres, None = nobody does. tell: gets a line for each fault.
    """

    estimator: PoseEstimator
    metric: MetricDepth | None
    runtime: Runtime
    settings: PoseSettings
    named: str
    track: Track
    tell: Callable[[str], None]

    def __call__(self, scene: BareScene) -> Found:
        """One scene's. Poses that are there stay as they are; several processes may be at one scene, of which one does
        it. Raises UserError where it cannot be read, and NetworkFailedError."""
        if scene.posed:
            return _there_before(scene)
        found = Found()
        frames = self._of_one_size(scene, scene.frames(), found)
        with network_errors():
            self.estimator.load(self.runtime)
        if self.metric is not None:
            self.metric.expect_here()
        folder = scene.folder / DEPTHS
        try:
            folder.mkdir(exist_ok=True)
            with locked(folder / _LOCK, wait=False):
                if scene.posed:  # by another process, meanwhile
                    return _there_before(scene)
                return self._made(scene, frames, found)
        except BlockingIOError:
            return Found(elsewhere=True)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            where = error.filename or folder
            raise UserError(f"{where}: cannot be written ({error.strerror}), wanted a scene to write to") from error

    def _made(self, scene: BareScene, frames: Sequence[PosedPicture], found: Found) -> Found:
        posed = self._in_metres(frames, self._posed(scene, frames, found), found)
        posed = _without_unsure(posed, self.settings.unsure)
        for frame, each in zip(frames, posed, strict=True):
            zdepth = torch.where(each.depth.valid, each.depth.zdepth, torch.zeros(()))
            save_zdepth(_depth_path(scene, frame), zdepth.numpy())
        with landing(scene.folder / POINTS) as file:
            write_points_ply(file, self._cloud(frames, posed))
        unit = "any" if found.metres is None else "metres"
        made = {"network": self.named, "unit": unit, "every": scene.every, "left_out": found.bad}
        text = json.dumps(_transforms(scene, frames, posed, made), indent=1)
        write_text(scene.folder / TRANSFORMS, text + "\n")  # last: with it the scene counts as posed
        found.frames = len(frames)
        return found

    def _of_one_size(self, scene: BareScene, paths: Sequence[Path], found: Found) -> list[PosedPicture]:
        """Those that can be read and are reduced to the size of most; the others are told and counted. Raises UserError
        where they are more than half."""
        read: list[tuple[PosedPicture, tuple[int, ...]]] = []
        bad: list[Path] = []
        for path in self.track(paths, len(paths), f"{scene.name}: reading"):
            try:
                frame = upright(path)
                read.append((frame, tuple(self._rgb(frame).shape[1:])))
            except UserError as error:
                bad.append(path)
                self.tell(str(error))
        size = statistics.mode([size for _, size in read]) if read else ()
        for frame, other in read:
            if other != size:
                bad.append(frame.path)
                shown = f"{frame.camera.width}x{frame.camera.height} pixels"
                self.tell(f"{frame.path}: {shown}, wanted the shape of most frames of its scene")
        found.bad = len(bad)
        leave_out(str(scene.folder), len(bad), len(paths), "frames cannot be used", str(bad[0]) if bad else "")
        return [frame for frame, other in read if other == size]

    def _posed(self, scene: BareScene, frames: Sequence[PosedPicture], found: Found) -> list[PosedDepth]:
        """All of them in the world of the first."""
        settings, posed = self.settings, list[PosedDepth]()
        ranges = list(parts(len(frames), settings.at_once, settings.shared))
        for part in self.track(ranges, len(ranges), f"{scene.name}: poses"):
            answer = self._asked([self._rgb(frames[number]) for number in part])
            begun = len(posed) - part.start  # frames that are posed already
            if begun:
                leads, joint = _joined(scene, posed[part.start :], answer[:begun])
                found.joints.append(joint)
            else:
                leads = _to_the_first(answer[0].camera)
            posed += [leads.moved(each) for each in answer[begun:]]
        return posed

    def _asked(self, rgbs: Sequence[Tensor]) -> Sequence[PosedDepth]:
        try:
            with network_errors():
                return self.estimator(torch.stack(list(rgbs)))
        except torch.OutOfMemoryError as error:
            raise NetworkFailedError(
                f"at_once: {len(rgbs)} frames do not fit in the memory of {self.runtime.torch_device}, wanted fewer"
            ) from error

    def _in_metres(self, frames: Sequence[PosedPicture], posed: list[PosedDepth], found: Found) -> list[PosedDepth]:
        """In metres, by the median of some frames' factors, each the median of its pixels'."""
        if self.metric is None:
            return posed
        self.metric.load()
        factors = []
        asked = min(len(frames), self.settings.metric_frames)
        for number in (turn * len(frames) // asked for turn in range(asked)):
            depth = posed[number].depth
            metres = self.metric(self._rgb(frames[number]), posed[number].camera)
            both = depth.valid & metres.valid
            if bool(both.any()):
                factors.append(float((metres.zdepth[both] / depth.zdepth[both]).median()))
        if not factors:
            raise UserError(f"{frames[0].path.parent}: no pixel has a depth in metres, wanted some, or metric_frames=0")
        found.metres, found.spread = statistics.median(factors), max(factors) / min(factors)
        leads = Similarity(found.metres, torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
        return [leads.moved(each) for each in posed]

    def _cloud(self, frames: Sequence[PosedPicture], posed: Sequence[PosedDepth]) -> PointCloud:
        """Points of all frames alike, evenly over each."""
        clouds, each = [], max(1, self.settings.points // len(frames))
        for frame, found in zip(frames, posed, strict=True):
            camera, depth = found.camera, found.depth
            places = torch.nonzero(depth.valid.flatten())[:, 0]
            places = places[:: max(1, -(-len(places) // each))]
            distance = zdepth_to_distance(camera, torch.where(depth.valid, depth.zdepth, 1.0))
            xyz = unproject(camera, distance).reshape(-1, 3)[places]
            rgb = self._rgb(frame).flatten(1).T[places]
            back = torch.nn.functional.normalize(camera.position - xyz, dim=1)
            clouds.append(PointCloud(xyz, rgb, back, distance.flatten()[places] / camera.fx))
        return PointCloud.joined(clouds)

    def _rgb(self, frame: PosedPicture) -> Tensor:
        return read_view(frame, self.settings.size).rgb


def _joined(scene: BareScene, wanted: Sequence[PosedDepth], found: Sequence[PosedDepth]) -> tuple[Similarity, Joint]:
    try:
        return joined(wanted, found)
    except ValueError as error:
        raise UserError(f"{scene.folder}: the frames that two parts share have no depth, wanted some") from error


def _to_the_first(camera: Camera) -> Similarity:
    w2c = camera.w2c.double()
    return Similarity(1.0, w2c[:3, :3], w2c[:3, 3])


def _without_unsure(posed: Sequence[PosedDepth], share: float) -> list[PosedDepth]:
    """The share of all pixels whose depth is least sure is no longer valid, but of no frame more than half."""
    step = -(-sum(each.sure.numel() for each in posed) // 1_000_000)  # torch.quantile takes no more than 2^24 values
    least = torch.cat([each.sure.flatten()[::step] for each in posed]).quantile(share)
    sure = [each.sure >= min(least, each.sure.median()) for each in posed]
    return [
        replace(each, depth=ViewDepth(each.depth.zdepth, each.depth.valid & kept))
        for each, kept in zip(posed, sure, strict=True)
    ]


def _depth_path(scene: BareScene, frame: PosedPicture) -> Path:
    return scene.folder / DEPTHS / f"{frame.path.stem}.npy"


def _transforms(
    scene: BareScene, frames: Sequence[PosedPicture], posed: Sequence[PosedDepth], made: dict[str, object]
) -> dict[str, object]:
    """As nerfstudio writes it, cameras of the pictures' own size. made: what a later start is to know."""
    written = []
    for frame, found in zip(frames, posed, strict=True):
        written.append(
            {
                "file_path": frame.path.relative_to(scene.folder).as_posix(),
                "depth_file_path": _depth_path(scene, frame).relative_to(scene.folder).as_posix(),
                **_lens(found.camera.resized(frame.camera.width, frame.camera.height)),
                "transform_matrix": (found.camera.c2w.double() @ _OPENGL).tolist(),
            }
        )
    return {"camera_model": "PINHOLE", "ply_file_path": POINTS, _MADE: made, "frames": written}


def _there_before(scene: BareScene) -> Found:
    """What is known of poses that are there: all that was noted, if we made them."""
    made: dict[str, object] = {}
    with suppress(OSError, ValueError, AttributeError, TypeError):  # nobody's fault here: they are only told of
        made = dict(json.loads((scene.folder / TRANSFORMS).read_text(encoding="utf-8")).get(_MADE) or {})
    left_out = made.get("left_out")
    return Found(there=True, made=made, bad=left_out if isinstance(left_out, int) else 0)


def _lens(camera: Camera) -> dict[str, float]:
    whole = {"w": camera.width, "h": camera.height}
    return {**whole, "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}

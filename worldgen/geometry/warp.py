"""A picture warped to another camera, and there and back again (paper step 8: what the ControlNet learns from)."""

from worldgen.geometry.points import render_points, view_points
from worldgen.types import Camera, View

_SAME_SURFACE = 0.03  # relative distance within which a pixel that came back lies on the surface that it left


def forward_warp(view: View, camera: Camera) -> View:
    """What `camera` sees of the known pixels of `view`; `known` is the warp's mask (paper, step 8).

    Both views have rgb [3, H, W], known [H, W] and distances [H, W] of their own sizes. ValueError without distances.
    """
    return render_points(view_points(view, view.known), camera)


def round_trip_warp(view: View, camera: Camera) -> View:
    """`view` under the mask of what survives being warped to `camera` and back (paper, forward-backward warp).

    What `camera` cannot see, because something stands before it or because it lies outside the picture, is lost:
    that is the self-occlusion mask. Pixels that survive keep their own colours, so they are correct by construction.
    Of the size of `view`, 0 where nothing survives. Raises ValueError without distances.
    """
    back = forward_warp(forward_warp(view, camera), view.camera)
    assert back.distance is not None
    assert view.distance is not None, "or the warp would have said so"
    same = (back.distance - view.distance).abs() <= _SAME_SURFACE * view.distance
    survives = view.known & back.known & same
    zero = view.rgb.new_zeros(())
    return View(view.camera, view.rgb.where(survives, zero), survives, view.distance.where(survives, zero))

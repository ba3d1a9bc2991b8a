"""The world as one HTML file: viser's viewer with the splats in it. It opens offline, where the photo was taken."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rich
import torch
import viser
from torch import Tensor

from worldgen.splat.harmonics import harmonics
from worldgen.splat.quaternions import rotations
from worldgen.types import Gaussians

_MAX_SCALE_M = 250.0  # the viewer holds covariances as float16, whose square root ends at 255

# Chrome starts no module worker from a blob on a page opened from disk, and viser's sorts the splats: without it, what
# is behind shows in front. The worker's code is a classic script but for one mention of its own address.
_WORKERS_FROM_DISK = """
<script>
if (location.protocol === "file:") window.Worker = class extends Worker {
  constructor(url, options) {
    if (options?.type !== "module" || !String(url).startsWith("blob:")) {
      super(url, options);
      return;
    }
    const request = new XMLHttpRequest();
    request.open("GET", url, false);
    request.send();
    const code = request.responseText.replaceAll("import.meta.url", "self.location.href");
    super(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
  }
};
</script>
"""

_HINT = """
<style>
#hint{position:fixed;left:0;right:0;bottom:1.2em;z-index:10;width:fit-content;max-width:92vw;box-sizing:border-box;
margin:auto;padding:.5em 1.2em;border-radius:1.2em;background:#000a;color:#fff;font:14px/1.4 system-ui,sans-serif;
text-align:center;pointer-events:none;transition:opacity 1s}
@media(pointer:coarse){#hint .keys{display:none}}
@media(pointer:fine){#hint .touch{display:none}}
</style>
<div id="hint">Drag to look round<span class="keys"> · <b>W&nbsp;A&nbsp;S&nbsp;D</b> to walk,
<b>Q&nbsp;E</b> down and up</span><span class="touch"> · two fingers to move</span></div>
<script>for(const e of["pointerdown","keydown","wheel"])addEventListener(e,()=>
setTimeout(()=>document.getElementById("hint").style.opacity=0,1500),{once:true,capture:true});</script>
"""


def scene_html(gaussians: Gaussians, title: str, max_splats: int, fov_deg: float = 65.0) -> str:
    """A self-contained page that shows at most `max_splats` Gaussians, those that look largest from the origin.

    fov_deg: vertical, of the first view.
    """
    kept = largest(gaussians, max_splats)
    with _quiet_server() as server:
        server.scene.set_up_direction("-y")
        server.initial_camera.position = (0.0, 0.0, 0.0)
        server.initial_camera.look_at = (0.0, 0.0, 0.25)  # the viewer turns round this point: near, or it orbits
        server.initial_camera.up = (0.0, -1.0, 0.0)
        server.initial_camera.fov = np.deg2rad(fov_deg)
        server.initial_camera.far = 2 * max(500.0, kept.means.norm(dim=1).amax().item()) if len(kept) else 1000.0
        server.scene.world_axes.visible = False
        server.scene.add_gaussian_splats(
            "/world",
            centers=kept.means.numpy(force=True),
            covariances=covariances(kept).numpy(force=True),
            rgbs=colours(kept).numpy(force=True),
            opacities=kept.opacity_logits.sigmoid()[:, None].numpy(force=True),
        )
        page = server.get_scene_serializer().as_html(dark_mode=True)
    page = page.replace("<title>Viser</title>", f"<title>{html.escape(title)}</title>", 1)
    page = page.replace("<head>", f"<head>{_WORKERS_FROM_DISK}", 1)
    head, body = page.rsplit("</body>", 1)
    return f"{head}{_HINT}</body>{body}"


def largest(gaussians: Gaussians, count: int) -> Gaussians:
    """At most `count` Gaussians, in their order: those with the most opacity times solid angle from the origin."""
    if len(gaussians) <= count:
        return gaussians
    two_largest = gaussians.log_scales.topk(2, dim=1).values.sum(dim=1)
    solid_angle = two_largest - 2 * gaussians.means.norm(dim=1).clamp(min=0.1).log()
    weight = torch.nn.functional.logsigmoid(gaussians.opacity_logits) + solid_angle
    kept = weight.topk(count).indices.sort().values
    return gaussians.map(lambda tensor: tensor[kept])


def covariances(gaussians: Gaussians) -> Tensor:
    """[N, 3, 3] square metres, R S S^T R^T (3D Gaussian Splatting, eq. 6)."""
    axes = rotations(gaussians.quats) * gaussians.log_scales.exp().clamp(max=_MAX_SCALE_M)[:, None, :]
    return axes @ axes.transpose(1, 2)


def colours(gaussians: Gaussians) -> Tensor:
    """[N, 3] in [0, 1], as seen from the origin; the viewer knows no colours that change with the direction."""
    basis = harmonics(torch.nn.functional.normalize(gaussians.means, dim=1), gaussians.sh.shape[1])
    return (0.5 + (basis[..., None] * gaussians.sh).sum(dim=1)).clamp(0, 1)


@contextmanager
def _quiet_server() -> Iterator[viser.ViserServer]:
    """A viser server on any free local port, as viser builds scenes in no other way, without its greetings."""
    console = rich.get_console()  # viser's voice; ours is another
    quiet, console.quiet = console.quiet, True
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        yield server
    finally:
        server.stop()
        console.quiet = quiet

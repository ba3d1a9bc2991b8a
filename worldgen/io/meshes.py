"""Triangle meshes as .glb, which engines and modelling programs read."""

from pathlib import Path

from torch import Tensor


def write_glb(path: Path, vertices: Tensor, triangles: Tensor) -> None:
    """Vertices [V, 3], metres, world frame (x right, y down, z forward), and triangles [T, 3] as binary glTF 2.0.

    glTF has y up: a half turn about x leads there, so that ahead is -z, as its cameras look.
    """
    import trimesh  # here, because it takes a second to import

    turned = (vertices * vertices.new_tensor([1.0, -1.0, -1.0])).cpu().numpy()
    mesh = trimesh.Trimesh(turned, triangles.cpu().numpy(), process=False)
    path.write_bytes(trimesh.exchange.gltf.export_glb(trimesh.Scene(mesh), include_normals=False))

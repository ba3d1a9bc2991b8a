"""Gaussians and clouds as files: what independent readers see in them, and what ours says to broken ones."""

import gzip
import struct
from dataclasses import replace

import gsply
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plyfile import PlyData, PlyElement

from worldgen.errors import UserError
from worldgen.io.clouds import load_cloud, save_cloud, write_points_ply
from worldgen.io.gaussians import (
    load_gaussians,
    read_ply,
    read_rows,
    read_spz,
    save_gaussians,
    write_ply,
    write_spz,
)
from worldgen.types import Gaussians, PointCloud


def some_gaussians(count: int = 50, degree: int = 1, spread_m: float = 5.0) -> Gaussians:
    generator = torch.Generator().manual_seed(count + degree)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    quats = F.normalize(normal(count, 4), dim=1)
    sh = 0.3 * normal(count, (degree + 1) ** 2, 3)
    return Gaussians(spread_m * normal(count, 3), quats, normal(count, 3) - 4, 2 * normal(count), sh)


def some_points(count: int = 40) -> PointCloud:
    generator = torch.Generator().manual_seed(count)
    normals = F.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return PointCloud(
        torch.randn(count, 3, generator=generator),
        torch.rand(count, 3, generator=generator),
        normals,
        torch.rand(count, generator=generator),
    )


def same(a: Gaussians, b: Gaussians) -> bool:
    return all(torch.equal(x, b.tensors()[name]) for name, x in a.tensors().items())


def same_rotations(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """q and -q are one rotation."""
    return bool(((a * b).sum(1).abs() > 1 - tolerance).all())


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_plyfile_reads_the_layout_that_every_viewer_expects(tmp_path, degree):
    gaussians = some_gaussians(degree=degree)
    write_ply(tmp_path / "world.ply", gaussians)
    data = PlyData.read(tmp_path / "world.ply")
    vertex, bands = data["vertex"], (degree + 1) ** 2
    rest = [f"f_rest_{i}" for i in range(3 * (bands - 1))]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity"]
    names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert [prop.name for prop in vertex.properties] == names
    assert data.byte_order == "<"
    assert not data.comments
    assert not data.obj_info
    assert np.array_equal(vertex["z"], gaussians.means[:, 2])
    assert np.array_equal(vertex["opacity"], gaussians.opacity_logits)
    assert np.array_equal(vertex["scale_1"], gaussians.log_scales[:, 1])
    assert np.allclose(vertex["rot_0"], gaussians.quats[:, 0], atol=1e-6)
    assert np.array_equal(vertex["f_dc_2"], gaussians.sh[:, 0, 2])
    if degree:  # channel by channel: all of red, then green, then blue
        assert np.array_equal(vertex[f"f_rest_{bands - 1 + 2}"], gaussians.sh[:, 3, 1])


@pytest.mark.parametrize("degree", [0, 3])
def test_gsply_reads_our_ply(tmp_path, degree):
    gaussians = some_gaussians(degree=degree)
    write_ply(tmp_path / "world.ply", gaussians)
    data = gsply.plyread(tmp_path / "world.ply")
    assert np.allclose(data.means, gaussians.means)
    assert np.allclose(data.scales, gaussians.log_scales)
    assert np.allclose(data.opacities, gaussians.opacity_logits)
    assert np.allclose(data.quats, gaussians.quats, atol=1e-6)
    assert np.allclose(data.sh0, gaussians.sh[:, 0])
    if degree:
        assert np.allclose(data.shN, gaussians.sh[:, 1:])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_ply_round_trip(tmp_path, degree):
    gaussians = some_gaussians(degree=degree)
    write_ply(tmp_path / "world.ply", gaussians)
    again = read_ply(tmp_path / "world.ply")
    assert torch.allclose(again.quats, gaussians.quats, atol=1e-6)
    assert same(again, Gaussians(**{**gaussians.tensors(), "quats": again.quats}))


def test_quaternions_are_written_as_units(tmp_path):
    gaussians = some_gaussians(2)
    scaled = Gaussians(**{**gaussians.tensors(), "quats": gaussians.quats * torch.tensor([[3.0], [0.0]])})
    write_ply(tmp_path / "world.ply", scaled)
    quats = read_ply(tmp_path / "world.ply").quats
    assert torch.allclose(quats[0], gaussians.quats[0], atol=1e-6)
    assert quats[1].tolist() == [1, 0, 0, 0]


def test_headers_of_other_tools(tmp_path):
    """Windows' ends of lines, comments in any language and coding, something before the vertices."""
    path, gaussians = tmp_path / "world.ply", some_gaussians(20)
    write_ply(path, gaussians)
    expected = read_ply(path)
    header, rows = path.read_bytes().split(b"end_header\n")
    before = b"comment caf\xe9 \xc3\xa9\nelement camera 2\nproperty double fx\nproperty uchar id\nelement vertex"
    header = header.replace(b"element vertex", before)
    path.write_bytes(header.replace(b"\n", b"\r\n") + b"end_header\r\n" + bytes(2 * 9) + rows)
    assert same(read_ply(path), expected)


def test_another_tools_ply_with_comments_doubles_and_extra_properties(tmp_path):
    gaussians = some_gaussians(20, degree=0)
    write_ply(tmp_path / "world.ply", gaussians)
    vertex = PlyData.read(tmp_path / "world.ply")["vertex"].data
    header = ["ply", "format binary_little_endian 1.0", "comment by another tool", f"element vertex {len(vertex)}"]
    names = [name for name in vertex.dtype.names if name not in ("nx", "ny", "nz")]
    wide = np.zeros(len(vertex), [("extra", "u1"), *((name, "<f8") for name in names)])
    for name in names:
        wide[name] = vertex[name]
    header += ["property uchar extra", *(f"property double {name}" for name in names)]
    header += ["element face 0", "property list uchar int vertex_indices", "end_header", ""]
    (tmp_path / "other.ply").write_bytes("\n".join(header).encode() + wide.tobytes())
    assert same(read_ply(tmp_path / "other.ply"), read_ply(tmp_path / "world.ply"))


def test_no_gaussians_at_all_are_a_valid_file(tmp_path):
    write_ply(tmp_path / "world.ply", some_gaussians(0))
    assert len(read_ply(tmp_path / "world.ply")) == 0


def test_a_header_that_promises_more_than_there_is(tmp_path):
    path = tmp_path / "world.ply"
    write_ply(path, some_gaussians(50))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"world\.ply: its header promises 50 vertices, the file holds 49"):
        read_ply(path)
    path.write_bytes(whole.replace(b"vertex 50", b"vertex 500000000000000"))
    with pytest.raises(UserError, match="promises 500000000000000 vertices, the file holds 50, wanted all of them"):
        read_ply(path)
    path.write_bytes(whole)
    rewritten(path, text=True)
    path.write_bytes(path.read_bytes().replace(b"vertex 50", b"vertex 500000000000000"))
    with pytest.raises(UserError, match=r"promises 500000000000000 vertices, the file holds \d+ at most"):
        read_ply(path)
    faces = b"element face 4000000000\nproperty list uchar int vertex_indices\nelement vertex 50"
    path.write_bytes(whole.replace(b"element vertex 50", faces))
    with pytest.raises(UserError, match="promises 4000000000 rows of face, the file holds"):
        read_ply(path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"ply\n", b"plx\n", "no .ply header"),
        (b"end_header", b"end_headed", "no .ply header"),
        (b"binary_little_endian", b"binary_middle_endian", "its header is broken"),
        (b"binary_little_endian", b"ascii", "broken"),
        (b"element vertex 50", b"element vertex -5", "element vertex -5"),
        (b"element vertex 50", b"element face 50", "no element `vertex`"),
        (b"property float x", b"property list uchar float x", "broken"),
        (b"property float y", b"property float x", "two properties with same name"),
        (b"property float opacity", b"property float alpha", "no property 'opacity'"),
        (b"property float f_rest_8", b"property float f_last_8", "8 f_rest properties"),
    ],
)
def test_what_is_no_splat_ply_is_named(tmp_path, old, new, complaint):
    path = tmp_path / "world.ply"
    write_ply(path, some_gaussians(50))
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(UserError, match=r"world\.ply: ") as error:
        read_ply(path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_empty_files(tmp_path):
    (tmp_path / "empty").touch()
    for name in ("missing", "empty", "."):
        with pytest.raises(UserError):
            read_ply(tmp_path / name)
        with pytest.raises(UserError):
            load_gaussians(tmp_path / name)


@pytest.mark.parametrize("name", ["means", "quats", "log_scales", "opacity_logits", "sh"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_what_is_not_finite_is_not_written(tmp_path, name, value):
    broken = some_gaussians(10)
    broken.tensors()[name].view(10, -1)[3, 0] = value
    for write in (write_ply, write_spz):
        with pytest.raises(UserError, match=f"1 values of {name} are not finite"):
            write(tmp_path / "world", broken)
        assert not (tmp_path / "world").exists()
    save_gaussians(tmp_path / "broken.safetensors", broken)
    with pytest.raises(UserError, match=f"broken.safetensors: 1 values of {name}"):
        load_gaussians(tmp_path / "broken.safetensors")


LAYOUTS = {"little": {"byte_order": "<"}, "big": {"byte_order": ">"}, "text": {"text": True}}


def rewritten(path, byte_order="<", text=False, values=()) -> None:
    """The file again in another layout, with (row, property, value) changed: by plyfile, not by us."""
    vertex = PlyData.read(path, mmap=False)["vertex"].data
    for row, name, value in values:
        vertex[name][row] = value
    PlyData([PlyElement.describe(vertex, "vertex")], text=text, byte_order=byte_order).write(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_ply_is_read(tmp_path, layout):
    path, gaussians = tmp_path / "world.ply", some_gaussians(degree=3)
    write_ply(path, gaussians)
    expected = read_ply(path)
    rewritten(path, **LAYOUTS[layout])
    assert path.read_bytes().startswith(
        b"ply\nformat ascii" if layout == "text" else f"ply\nformat binary_{layout}".encode()
    )
    assert same(read_ply(path), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_that_are_not_finite_are_left_out_and_counted(tmp_path, caplog, layout):
    path = tmp_path / "world.ply"
    write_ply(path, some_gaussians(10))
    whole = read_ply(path)
    broken = [(3, "x", np.nan), (3, "rot_0", np.inf), (5, "f_rest_2", np.nan), (7, "scale_1", np.inf)]
    rewritten(path, **LAYOUTS[layout], values=broken)
    kept = torch.tensor([0, 1, 2, 4, 6, 8, 9])
    assert same(read_ply(path), Gaussians(**{name: value[kept] for name, value in whole.tensors().items()}))
    assert caplog.messages == [f"{path}: 3 of 10 splats left out, whose values are not finite"]
    rewritten(path, values=[(row, "y", np.nan) for row in range(10)])
    with pytest.raises(UserError, match=r"world\.ply: none of 10 splats has finite values, wanted one at least"):
        read_ply(path)


def test_infinite_opacities_and_sizes_that_mean_something_are_kept(tmp_path, caplog):
    path = tmp_path / "world.ply"
    write_ply(path, some_gaussians(3))
    rewritten(path, values=[(0, "opacity", np.inf), (1, "opacity", -np.inf), (2, "scale_0", -np.inf)])
    again = read_ply(path)
    assert len(again) == 3
    assert not caplog.messages
    assert all(bool(torch.isfinite(tensor).all()) for tensor in again.tensors().values())
    assert again.opacity_logits[:2].sigmoid().tolist() == pytest.approx([1, 0], abs=1e-9)
    assert float(again.log_scales[2, 0].exp()) < 1e-9


def test_places_far_away_lose_nothing_where_the_origin_is_taken_off_first(tmp_path):
    path, far = tmp_path / "world.ply", (5e5, 4.5e6, 100.0)
    write_ply(path, some_gaussians(20))
    near = PlyData.read(path, mmap=False)["vertex"].data
    wide = near.astype([(name, "<f8" if name in "xyz" else "<f4") for name in near.dtype.names])
    for name, away in zip("xyz", far, strict=True):
        wide[name] += away
    PlyData([PlyElement.describe(wide, "vertex")]).write(path)
    again, _ = read_rows(path, far)
    assert torch.allclose(again.means, some_gaussians(20).means, atol=1e-6)


def decode_spz(path) -> dict[str, np.ndarray]:
    """The published SPZ 3 layout, straight: header, positions, alphas, colours, scales, rotations, harmonics."""
    raw = gzip.decompress(path.read_bytes())
    magic, version, count, degree, bits, _, _ = struct.unpack("<IIIBBBB", raw[:16])
    assert (magic, version) == (0x5053474E, 3)
    sections, at = [], 16
    for width in (9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)):
        sections.append(np.frombuffer(raw, np.uint8, count * width, at).reshape(count, width))
        at += count * width
    assert at == len(raw)
    low, middle, high = sections[0].reshape(count, 3, 3).astype(np.int32).transpose(2, 0, 1)
    fixed = low | middle << 8 | high << 16
    return {
        "means": (fixed - (fixed >> 23 << 24)) / 2.0**bits,
        "opacity": sections[1][:, 0] / 255,
        "dc": (sections[2] / 255 - 0.5) / 0.15,
        "log_scales": sections[3] / 16 - 10,
        "quats": _smallest_three(sections[4].copy().view("<u4")[:, 0]),
        "rest": (sections[5].reshape(count, -1, 3) - 128.0) / 128,
    }


def _smallest_three(packed: np.ndarray) -> np.ndarray:
    """2 bits name the largest of x y z w, which is left out; 10 bits (sign, magnitude) hold each of the others."""
    quats = np.zeros((len(packed), 4))
    for row, bits in enumerate(packed.astype(np.int64)):
        largest = bits >> 30
        for axis in (axis for axis in (3, 2, 1, 0) if axis != largest):
            quats[row, axis] = (bits & 511) / 511 * 0.5**0.5 * (-1 if bits & 512 else 1)
            bits >>= 10
        quats[row, largest] = np.sqrt(1 - (quats[row] ** 2).sum())
    return np.roll(quats, 1, axis=1)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_spz_holds_the_same_gaussians(tmp_path, degree):
    gaussians = some_gaussians(60, degree)
    write_spz(tmp_path / "world.spz", gaussians)
    decoded = decode_spz(tmp_path / "world.spz")
    assert np.abs(decoded["means"] - gaussians.means.numpy()).max() <= 2.0**-13 + 1e-6
    assert np.abs(decoded["opacity"] - gaussians.opacity_logits.sigmoid().numpy()).max() <= 0.5 / 255 + 1e-6
    assert np.abs(decoded["dc"] - gaussians.sh[:, 0].numpy()).max() <= 0.5 / 255 / 0.15 + 1e-6
    assert np.abs(decoded["log_scales"] - gaussians.log_scales.numpy()).max() <= 1 / 32 + 1e-6
    assert same_rotations(torch.from_numpy(decoded["quats"]).float(), gaussians.quats, 1e-5)
    if degree:
        assert np.abs(decoded["rest"] - gaussians.sh[:, 1:].clamp(-1, 127 / 128).numpy()).max() <= 1 / 256 + 1e-6


@pytest.mark.parametrize("farthest_m", [2000.0, 2100.0, 1e5])
def test_spz_reaches_the_farthest_gaussian(tmp_path, farthest_m):
    gaussians = some_gaussians(10)
    gaussians.means[4, 2] = -farthest_m
    write_spz(tmp_path / "world.spz", gaussians)
    assert decode_spz(tmp_path / "world.spz")["means"][4, 2] == pytest.approx(-farthest_m, rel=1e-5)


def test_points_ply_as_plyfile_reads_it(tmp_path):
    cloud = some_points()
    write_points_ply(tmp_path / "points.ply", cloud)
    vertex = PlyData.read(tmp_path / "points.ply")["vertex"]
    assert np.array_equal(vertex["y"], cloud.xyz[:, 1])
    assert np.array_equal(vertex["nz"], cloud.normals[:, 2])
    assert np.abs(vertex["green"] / 255 - cloud.rgb[:, 1].numpy()).max() <= 0.5 / 255 + 1e-6


def test_safetensors_round_trips_are_exact(tmp_path):
    gaussians, cloud = some_gaussians(), some_points()
    save_gaussians(tmp_path / "g", gaussians)
    save_cloud(tmp_path / "c", cloud)
    assert same(load_gaussians(tmp_path / "g"), gaussians)
    again = load_cloud(tmp_path / "c")
    for name in ("xyz", "rgb", "normals", "spacing", "sky"):
        assert torch.equal(getattr(again, name), getattr(cloud, name))


def test_safetensors_may_have_names_that_are_no_utf8(tmp_path):
    path = tmp_path / "-caf\udce9 ${x}"
    save_gaussians(path, some_gaussians())
    assert same(load_gaussians(path), some_gaussians())


def test_one_kind_is_not_taken_for_the_other(tmp_path):
    save_cloud(tmp_path / "c.safetensors", some_points())
    with pytest.raises(UserError, match="holds normals, rgb, sky, spacing, xyz, wanted means"):
        load_gaussians(tmp_path / "c.safetensors")


@pytest.mark.parametrize("antialiased", [False, True])
def test_spz_tells_viewers_how_gaussians_are_rendered(tmp_path, antialiased):
    gaussians = some_gaussians()
    write_spz(tmp_path / "plain.spz", gaussians)
    write_spz(tmp_path / "world.spz", replace(gaussians, antialiased=antialiased))
    plain, found = (gzip.decompress((tmp_path / name).read_bytes()) for name in ("plain.spz", "world.spz"))
    magic, version, count, _, _, flags, _ = struct.unpack("<IIIBBBB", found[:16])
    assert (magic, version, count, flags) == (0x5053474E, 3, len(gaussians), int(antialiased))
    assert found[:14] + found[15:] == plain[:14] + plain[15:]
    assert len(gsply.read_spz(tmp_path / "world.spz").means) == count
    again = read_spz(tmp_path / "world.spz")
    assert again.antialiased is antialiased
    assert torch.allclose(again.means, gaussians.means, atol=2.0**-12)


@pytest.mark.parametrize("antialiased", [False, True])
def test_safetensors_remember_how_gaussians_are_rendered(tmp_path, antialiased):
    save_gaussians(tmp_path / "g.safetensors", replace(some_gaussians(), antialiased=antialiased))
    assert load_gaussians(tmp_path / "g.safetensors").antialiased is antialiased

"""`methods.<name>.axes` and the like: what is told, and what cannot be."""

import pytest
import torch

from eval.protocols.file_frames import AXES, FileFrame, expect_methods, take_frames
from eval.protocols.methods import examine
from eval.protocols.outputs import placed
from tests.small_world import room_splats
from worldgen.errors import UserError
from worldgen.io.gaussians import write_ply
from worldgen.runs.artifacts import save_image


def test_frames_are_told_by_method():
    arguments = ["protocol=world", "methods.a=x.ply", "methods.a.axes=opengl", "methods.b.1.scale=0.5"]
    arguments += ["methods.a.origin=[1, -2,3e1]", "methods.b.1=y.spz", "out=methods.a.axes=b"]
    frames, others = take_frames(arguments)
    assert frames == {"a": FileFrame("opengl", origin=(1.0, -2.0, 30.0)), "b.1": FileFrame(scale=0.5)}
    assert others == ["protocol=world", "methods.a=x.ply", "methods.b.1=y.spz", "out=methods.a.axes=b"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("methods.a.axes=opengI", "methods.a.axes: opengI, wanted one of opencv, opengl, y_up, z_up"),
        ("methods.a.axes=", "methods.a.axes: nothing, wanted one of"),
        ("methods.a.scale=0", "methods.a.scale: 0, wanted metres in a unit of the file, 1e-6 to 1e6"),
        ("methods.a.scale=-1", "methods.a.scale: -1, wanted"),
        ("methods.a.scale=nan", "methods.a.scale: nan, wanted"),
        ("methods.a.scale=big", "methods.a.scale: big, wanted"),
        ("methods.a.origin=[1,2]", "methods.a.origin: [1,2], wanted [x,y,z]"),
        ("methods.a.origin=1,2,3", "methods.a.origin: 1,2,3, wanted [x,y,z]"),
        ("methods.a.origin=[1,2,inf]", "methods.a.origin: [1,2,inf], wanted [x,y,z]"),
    ],
)
def test_values_that_are_none_are_refused_in_one_line(argument, message):
    with pytest.raises(UserError) as caught:
        take_frames([argument])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_each_once_and_of_a_method_that_is_there(tmp_path):
    with pytest.raises(UserError, match=r"methods\.a\.axes: given twice"):
        take_frames(["methods.a.axes=opengl", "methods.a.axes=opencv"])
    with pytest.raises(UserError, match=r"methods\.b: none, wanted methods\.b=<path> beside its \.axes"):
        expect_methods({"b": FileFrame("opengl")}, ["a"])
    save_image(tmp_path / "a.png", torch.rand(3, 64, 64))
    with pytest.raises(UserError, match=r"methods\.a\.axes.*a\.png holds images, wanted splats \(\.ply, \.spz\)"):
        placed([examine("a", tmp_path / "a.png")], {"a": FileFrame("opengl")})


def test_items_and_records_keep_their_frame(tmp_path):
    write_ply(tmp_path / "a.ply", room_splats(16))
    frame = FileFrame("z_up", 0.5, (1.0, 2.0, 3.0))
    plain, moved = placed([examine("plain", tmp_path), examine("moved", tmp_path)], {"moved": frame})
    assert [item.world for item in (*plain.items, *moved.items)] == [FileFrame(), frame]
    assert "world" not in plain.record()
    assert moved.record()["world"] == {"axes": "z_up", "scale": 0.5, "origin": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize("axes", AXES)
def test_axes_are_right_handed(axes):
    rotation = FileFrame(axes).rotation
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(rotation)) == pytest.approx(1)


def test_axes_are_what_they_are_called():
    up = {"opencv": (0, -1, 0), "opengl": (0, 1, 0), "y_up": (0, 1, 0), "z_up": (0, 0, 1)}
    ahead = {"opencv": (0, 0, 1), "opengl": (0, 0, -1), "y_up": (0, 0, 1), "z_up": (0, 1, 0)}
    for axes, rows in AXES.items():
        rotation = torch.tensor(rows)
        assert (rotation @ torch.tensor(up[axes])).tolist() == [0, -1, 0]
        assert (rotation @ torch.tensor(ahead[axes])).tolist() == [0, 0, 1]

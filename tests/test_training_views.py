"""What the splats are fitted to: every direction of the panorama, and of completed views only what was inpainted."""

import pytest
import torch

from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions
from worldgen.recipe.training_views import SupervisionSettings, panorama_cameras, supervision
from worldgen.types import Camera, CompletedView, Panorama, View

SMALL = SupervisionSettings(size=32)


def photo_and_panorama() -> tuple[View, Panorama]:
    """A panorama whose colour is its direction, and the photo that it would give."""
    rgb = (directions(64, 128) + 1).permute(2, 0, 1) / 2
    camera = Camera.from_fov(40, 30, 70)
    photo = View(camera, torch.zeros(3, 30, 40), torch.ones(30, 40, dtype=torch.bool))
    return photo, Panorama(rgb, torch.zeros(64, 128, dtype=torch.bool))


def test_every_direction_is_seen_by_some_view():
    everywhere = directions(32, 64).reshape(-1, 3)
    seen = torch.zeros(len(everywhere), dtype=torch.bool)
    for camera in panorama_cameras(SupervisionSettings()):
        local = everywhere @ camera.c2w[:3, :3]
        tangent = local[:, :2].abs().amax(dim=1) / local[:, 2].clamp(min=1e-6)
        seen |= (local[:, 2] > 0) & (tangent <= 1.0)
    assert seen.all()


def test_panorama_views_count_in_full_and_show_their_direction():
    photo, panorama = photo_and_panorama()
    views = supervision(photo, panorama, [], SMALL)
    for view in views:
        assert not view.generated
        assert (view.weight == 1).all()
        centre = view.rgb[:, view.camera.height // 2, view.camera.width // 2] * 2 - 1
        assert torch.allclose(centre, view.camera.c2w[:3, 2], atol=0.08)


def test_the_photos_own_view_comes_first_in_its_own_shape():
    photo, panorama = photo_and_panorama()
    first = supervision(photo, panorama, [], SMALL)[0].camera
    assert (first.width, first.height) == (32, 24)
    assert first.fov_deg == pytest.approx(photo.camera.fov_deg)


def test_completed_views_count_only_where_they_were_inpainted():
    photo, panorama = photo_and_panorama()
    camera = Camera.from_fov(16, 16, 90, look_at(30, 0, torch.tensor([1.0, 0.0, 0.0])))
    inpainted = torch.zeros(16, 16, dtype=torch.bool)
    inpainted[4:8, 4:8] = True
    completed = CompletedView(View(camera, torch.rand(3, 16, 16), torch.ones(16, 16, dtype=torch.bool)), inpainted)
    untouched = CompletedView(completed.view, torch.zeros_like(inpainted))
    generated = [view for view in supervision(photo, panorama, [completed, untouched], SMALL) if view.generated]
    assert len(generated) == 1
    assert torch.equal(generated[0].weight > 0, inpainted)


@pytest.mark.parametrize("wrong", [{"size": 4}, {"fov_deg": 180}, {"horizontal": 0}])
def test_wrong_settings_name_their_key(wrong):
    with pytest.raises(UserError, match=f"views.{next(iter(wrong))}"):
        SupervisionSettings(**wrong)

"""What networks are trained by: noise by the number of the sample, and inputs as diffusers' pipelines make them."""

import pytest
import torch

pytest.importorskip("diffusers")

from train.diffusion.latents import seen, to_latents
from train.diffusion.objective import Draws, Objective, draws
from worldgen.errors import UserError

SHAPE = (4, 8, 8)


def schedule(prediction="epsilon"):
    import diffusers

    return diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", prediction_type=prediction)


def test_what_is_drawn_for_a_sample_heeds_neither_its_batch_nor_its_place_in_it():
    together, alone = draws(3, [5, 9], SHAPE, 1000), draws(3, [9], SHAPE, 1000)
    for name in ("noise", "timesteps", "of_latents", "chance"):
        assert torch.equal(getattr(together, name)[1:], getattr(alone, name)), name
    assert not torch.equal(together.noise[0], together.noise[1])
    assert not torch.equal(draws(4, [9], SHAPE, 1000).noise, alone.noise)
    many = draws(0, range(400), (1, 1, 1), 1000).timesteps
    assert many.min() < 30
    assert many.max() > 969


def known_draws(timesteps) -> Draws:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(len(timesteps), *SHAPE, generator=generator)
    return Draws(noise, torch.tensor(timesteps), torch.zeros_like(noise), torch.zeros(len(timesteps)))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_target_leads_back_to_the_picture(prediction):
    """By the definitions of the three, written out: x_t = a x_0 + s e, v = a e - s x_0."""
    objective, drawn = Objective(schedule(prediction)), known_draws([10, 700])
    latents = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    kept = schedule().alphas_cumprod[drawn.timesteps].view(2, 1, 1, 1)
    a, s = kept.sqrt(), (1 - kept).sqrt()
    noisy, target = objective.noisy(latents, drawn), objective.target(latents, drawn)
    back = {"epsilon": (noisy - s * target) / a, "v_prediction": a * noisy - s * target, "sample": target}
    assert torch.allclose(back[prediction], latents, atol=1e-4)
    assert float(objective.loss(target, latents, drawn)) == 0


def test_min_snr_weighs_every_prediction_alike_as_an_error_of_the_picture():
    latents = torch.zeros(3, *SHAPE)
    drawn = known_draws([10, 500, 990])
    ratio = schedule().alphas_cumprod[drawn.timesteps] / (1 - schedule().alphas_cumprod[drawn.timesteps])
    # Errors of 1 in the picture are errors of sqrt(snr) in the noise and of sqrt(snr + 1) in the velocity.
    errors = {"sample": torch.ones(3), "epsilon": ratio.sqrt(), "v_prediction": (ratio + 1).sqrt()}
    wanted = float(ratio.clamp(max=5).mean())
    for prediction, error in errors.items():
        objective = Objective(schedule(prediction), min_snr_gamma=5.0)
        answer = objective.target(latents, drawn) + error.view(3, 1, 1, 1)
        assert float(objective.loss(answer, latents, drawn)) == pytest.approx(wanted, rel=1e-3), prediction


def test_a_schedule_without_betas_is_refused_in_one_line():
    import diffusers

    with pytest.raises(UserError, match="FlowMatchEulerDiscreteScheduler, wanted a checkpoint of SDXL"):
        Objective(diffusers.FlowMatchEulerDiscreteScheduler())
    with pytest.raises(UserError, match="min_snr_gamma: -1, wanted more than 0, or null"):
        Objective(schedule(), -1)


def test_an_inpainting_network_is_given_what_the_pipeline_gives_it(checkpoints):
    import diffusers

    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(checkpoints["sd"])
    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    holes = torch.zeros(1, 64, 64)
    holes[:, 10:40, 16:50] = 1
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    picture = pipe.image_processor.preprocess(rgb)
    masked = picture * (holes[:, None] < 0.5)
    mask, latents = pipe.prepare_mask_latents(
        holes[:, None], masked, 1, 64, 64, torch.float32, "cpu", torch.Generator().manual_seed(7), False
    )
    assert torch.allclose(seen(pipe.vae, rgb, holes, noise), torch.cat([mask, latents], dim=1), atol=1e-5)
    own = pipe._encode_vae_image(picture, generator=torch.Generator().manual_seed(7))
    assert torch.allclose(to_latents(pipe.vae, rgb, noise), own, atol=1e-5)

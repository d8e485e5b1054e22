"""x_t by inverting the image under the current policy, in place of adding random noise (InPO, SmPO).

After JaydenLyh/InPO@a9cfc4d and JaydenLyh/SmPO@8922d54 train.py, with the scheduler they pin (DDIMInverseScheduler of
diffusers 0.20.0) on Stable Diffusion's configuration (steps_offset 1, set_alpha_to_one false):

    grid steps go from level s_k = 1 + (k - 1) r to s_k + r,   r = T // grid_steps,  k = 0 ... grid_steps - 1
    step k is made for images with t > s_k; the network is asked at s_k, without gradient and without guidance
    abar below 0 is abar_0: the first step takes the image for one of level 0, and asks the network at a negative time
    eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t): abar at the drawn t, not at the level that was reached

The level that is reached is thus up to r - 1 above t (below it for the last few t, where the grid ends). All of this is
the released code's. Ours: pairs of one batch may have different t (the code asks for one pair a forward pass);
v-prediction (the code asserts epsilon), where two averaged predictions are averaged before they are converted.
"""

import math

import torch
from torch import Tensor

from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import NoisyPair, prediction_target
from prefbench.reference_trainers.method import Condition, Nets, PairBatch

__all__ = ["check_grid", "invert", "inverted_pair", "noise_that_leads_to"]


def check_grid(grid_steps: int, timesteps: int) -> None:
    """Raises ValueError where the grid leaves the noise schedule of so many timesteps."""
    if grid_steps < 1 or 1 + (grid_steps - 1) * (timesteps // grid_steps) >= timesteps:
        raise ValueError(f"{grid_steps} grid steps do not fit a noise schedule of {timesteps} timesteps")


def _levels(nets: Nets, grid_steps: int, k: int) -> tuple[int, float, float]:
    """Time at which step k asks the network, and abar before and after it."""
    total = len(nets.alphas_cumprod)
    ratio = total // grid_steps
    start = 1 + (k - 1) * ratio
    return start, float(nets.alphas_cumprod[max(start, 0)]), float(nets.alphas_cumprod[start + ratio])


def _moved(x: Tensor, prediction: Tensor, before: float, after: float, prediction_type: str) -> Tensor:
    """DDIM's deterministic step from one level to the next noisier one."""
    if prediction_type == "v_prediction":
        eps = math.sqrt(before) * prediction + math.sqrt(1 - before) * x
        image = math.sqrt(before) * x - math.sqrt(1 - before) * prediction
    else:
        eps = prediction
        image = (x - math.sqrt(1 - before) * eps) / math.sqrt(before)
    return math.sqrt(after) * image + math.sqrt(1 - after) * eps


@torch.no_grad()
def invert(
    nets: Nets,
    latents: Tensor,
    timesteps: Tensor,
    condition: Condition,
    *,
    grid_steps: int,
    predictions: int,
    noise: list[Tensor] | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Walk the images up the grid to about their timestep.

    Args:
        nets: the policy inverts.
        latents: x_0, shape (N, C, H, W).
        timesteps: t of each image, shape (N,).
        condition: prompts, leading dimension N.
        grid_steps: of the whole schedule.
        predictions: 1 for DDIM inversion; 2 for ReNoise: the mean of the predictions before and after a trial step.
        noise: one (N, C, H, W) a grid step, added times eta times the standard deviation that DDIM (eta = 1) has
            between the two levels; None for none.
        eta: see noise.

    Returns:
        x_t, shape (N, C, H, W), without gradient.

    Raises:
        ValueError: the grid does not fit the schedule, or predictions is neither 1 nor 2.
    """
    check_grid(grid_steps, len(nets.alphas_cumprod))
    if predictions not in (1, 2):
        raise ValueError(f"predictions must be 1 or 2, got {predictions}")
    reached = latents.clone()
    for k in range(grid_steps):
        start, before, after = _levels(nets, grid_steps, k)
        rows = (timesteps > start).nonzero().flatten()
        if not len(rows):
            break
        x, times = reached[rows], torch.full_like(timesteps[rows], start)
        prompts = {name: value[rows] for name, value in condition.items()}
        prediction = nets.policy(x, times, prompts).to(x.dtype)
        if predictions == 2:
            trial = _moved(x, prediction, before, after, nets.prediction_type)
            prediction = (prediction + nets.policy(trial, times, prompts).to(x.dtype)) / 2
        x = _moved(x, prediction, before, after, nets.prediction_type)
        if noise is not None:
            variance = (1 - before) / (1 - after) * (1 - after / before)
            x = x + eta * math.sqrt(variance) * noise[k][rows]
        reached[rows] = x
    return reached


def noise_that_leads_to(noisy: Tensor, latents: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """The eps for which x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, shape of `noisy`."""
    abar = alphas_cumprod.to(noisy.device)[timesteps].view(-1, *(1,) * (noisy.ndim - 1))
    return (noisy - abar.sqrt().to(noisy.dtype) * latents) / (1 - abar).sqrt().to(noisy.dtype)


def inverted_pair(
    nets: Nets, batch: PairBatch, draws: Draws, *, grid_steps: int, predictions: int, eta: float
) -> NoisyPair:
    """Both images of each pair inverted to the pair's timestep; targets are each image's own eps (or v).

    Raises:
        ValueError: the batch has no losers.
    """
    if batch.loser is None:
        raise ValueError("the batch has no losers: the method must be declared with uses_loser=True")
    timesteps = draws.integers("timestep", len(nets.alphas_cumprod)).repeat(2)
    latents = torch.cat([batch.winner, batch.loser])
    condition = {name: torch.cat([value, value]) for name, value in batch.condition.items()}
    noise = None
    if eta:
        shape = tuple(batch.winner.shape[1:])
        noise = [
            torch.cat([draws.normal(f"inversion_{role}_{k}", shape) for role in ("winner", "loser")])
            for k in range(grid_steps)
        ]
    noisy = invert(
        nets,
        latents,
        timesteps,
        condition,
        grid_steps=grid_steps,
        predictions=predictions,
        noise=noise,
        eta=eta,
    )
    eps = noise_that_leads_to(noisy, latents, timesteps, nets.alphas_cumprod)
    target = prediction_target(latents, eps, timesteps, nets.alphas_cumprod, nets.prediction_type)
    return NoisyPair(noisy=noisy, timesteps=timesteps, condition=condition, target=target)

"""Expert trajectories around an obstacle, on the left or on the right: a policy to be learned from demonstrations.

Shapes: N trajectories, H actions each; positions are in the plane.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from datamodules.base import DataModule, Rows
from datamodules.spec import DataSpec

OBSTACLE = 0.3
"""The radius of the obstacle, which lies at the origin."""
SPREAD = 0.2
"""How far a start lies from (−1, 0), and a goal from (1, 0), at most, along each axis."""
DETOUR = (0.65, 0.75)
"""How far the experts swing out, at least and at most."""
REACHED = 0.1
"""How near to the goal a trajectory has to end."""
SPEED = 2.0
"""The distance between the middles of the starts and of the goals, covered in one unit of time."""
PICTURE = 32


class Detour(DataModule):
    """Actions of a point that passes an obstacle on the left or on the right, given where it starts and has to go.

    The condition is the observation (start, goal), four numbers, as the pooled vector. The expert's position after the
    part u of its time is start + u·(goal − start) ± A·sin(πu)·n, with n normal to the straight way, a fair coin for the
    side, and A uniform in [0.65, 0.75]; an action is the way of one H-th of the time. The two sides are equally good,
    and their mean leads into the obstacle: what predicts a mean fails. A sample (2, H) holds the actions in units of
    the speed of the straight way.

    Args:
        horizon: H, the number of actions.
        size: number of training trajectories; a quarter as many are held out.
        seed: which are drawn; part of the data, not the run's seed.

    Raises:
        ValueError: fewer than 2 actions, fewer than 4 trajectories or a negative seed.

    Source: the use of generative models as policies over action sequences, Chi et al., Diffusion Policy (2023), and
    shortcut models' (Frans et al. 2024, §5.4); the task is our own.
    """

    features: ClassVar[str] = "coordinates"

    def __init__(self, *, horizon: int = 16, size: int = 4000, seed: int = 0) -> None:
        if horizon < 2:
            raise ValueError(f"horizon is {horizon}; at least 2 actions are needed")
        if size < 4:
            raise ValueError(f"size is {size}; at least 4 trajectories are needed")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must not be negative")
        self.horizon, self.size, self.seed = horizon, size, seed

    @property
    def spec(self) -> DataSpec:
        swing = (DETOUR[0] ** 2 + DETOUR[0] * DETOUR[1] + DETOUR[1] ** 2) / 3  # the mean of A²
        sideways = swing * (self.horizon * math.sin(math.pi / (2 * self.horizon))) ** 2 / 2
        variance = 1 / 4 + SPREAD**2 / 6 + sideways / 2  # about the mean of both coordinates, 1/2
        return DataSpec(shape=(2, self.horizon), pooled=4, data_std=math.sqrt(variance))

    def load(self) -> tuple[Rows, Rows]:
        total = self.size + self.size // 4
        words = np.random.Philox(key=self.seed).random_raw(6 * total).reshape(total, 6)
        u = torch.from_numpy(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)
        middle = torch.tensor([-1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
        observation = middle + SPREAD * (2 * u[:, :4] - 1)
        swing = (DETOUR[0] + (DETOUR[1] - DETOUR[0]) * u[:, 4]) * torch.where(u[:, 5] < 0.5, 1.0, -1.0)
        x = expert(observation, swing, self.horizon).float()
        observation = observation.float()
        return (
            Rows(x[: self.size], pooled=observation[: self.size]),
            Rows(x[self.size :], pooled=observation[self.size :]),
        )

    def path(self, x: Tensor, observation: Tensor) -> Tensor:
        """Positions (N, H + 1, 2), the start first, of actions (N, 2, H) from observations (N, 4)."""
        start = observation[:, None, :2]
        return torch.cat([start, start + (x.mT * SPEED / self.horizon).cumsum(1)], dim=1)

    def success(self, x: Tensor, observation: Tensor) -> Tensor:
        """Which trajectories (N,) end at the goal, within 0.1, without having touched the obstacle on their way."""
        path = self.path(x, observation)
        between = (path[:, 1:] + path[:, :-1]) / 2
        clear = torch.cat([path, between], dim=1).norm(dim=2).amin(1) > OBSTACLE
        return clear & ((path[:, -1] - observation[:, 2:]).norm(dim=1) < REACHED)

    def side(self, x: Tensor, observation: Tensor) -> Tensor:
        """On which side (N,) of the straight way the middle of each trajectory lies: 1 on the left, −1 on the right."""
        middle = self.path(x, observation)[:, self.horizon // 2] - observation[:, :2]
        way = observation[:, 2:] - observation[:, :2]
        return torch.sign(way[:, 0] * middle[:, 1] - way[:, 1] * middle[:, 0])

    def to_images(self, x: Tensor) -> Tensor:
        """Pictures (N, 1, 32, 32) uint8 of the ways, each from the left edge's middle; right is a goal straight on."""
        finite = x.detach().float().cpu().nan_to_num()
        path = self.path(finite, torch.zeros(len(x), 4))
        path = torch.cat([path[:, :1], (path[:, 1:] + path[:, :-1]) / 2, path[:, 1:]], dim=1)
        place = torch.stack([path[..., 0] / 2.5, path[..., 1] / 2.5 + 0.5], dim=-1)
        column, height = (place * (PICTURE - 1)).round().long().clamp(0, PICTURE - 1).unbind(-1)
        pictures = torch.zeros(len(x), PICTURE * PICTURE, dtype=torch.uint8)
        return pictures.scatter(1, (PICTURE - 1 - height) * PICTURE + column, 255).view(-1, 1, PICTURE, PICTURE)


def expert(observation: Tensor, swing: Tensor, horizon: int) -> Tensor:
    """The expert's actions (N, 2, H) from observations (N, 4), swinging out by (N,), positive to the left."""
    start, goal = observation[:, :2], observation[:, 2:]
    way = goal - start
    normal = torch.stack([-way[:, 1], way[:, 0]], dim=1) / way.norm(dim=1, keepdim=True)
    u = torch.linspace(0, 1, horizon + 1, dtype=observation.dtype)[:, None]
    path = start[:, None] + u * way[:, None] + torch.sin(torch.pi * u) * (swing[:, None] * normal)[:, None]
    return path.diff(dim=1).mT * horizon / SPEED

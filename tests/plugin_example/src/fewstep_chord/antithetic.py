"""An objective made of another: both signs of the noise in one step."""

from torch import Tensor

from objectives import FlowMatching, Loss, Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws

_RF = FlowMatching()


class Antithetic(Objective):
    """Antithetic: flow matching in which every sample is noised by ε and by −ε, at one time.

    The loss is the mean of the two, each as the flow has it. What is odd in ε cancels in its gradient, which costs a
    second pass.

    Args:
        flow: the flow-matching objective.
    """

    def __init__(self, flow: FlowMatching = _RF) -> None:
        super().__init__()
        self.flow, self.path, self.needs, self.solvers = flow, flow.path, flow.needs, flow.solvers

    @property
    def batch_multiple(self) -> int:
        return self.flow.batch_multiple

    @property
    def notation(self) -> str:
        return f"antithetic/{self.flow.notation}"

    def loss(
        self,
        network: Network,
        x: Tensor,
        condition: Condition,
        draws: AnyDraws,
        *,
        teacher: Network | None = None,
        progress: float = 0.0,
    ) -> Loss:
        noise = self.flow.noise(x, condition, draws)
        t = self.flow.times(draws.uniform("time", x.shape[:1], noise.dtype))
        condition = self.flow.dropped(condition, draws, len(x))
        both = [self.flow.loss_at(network, x, condition, t, sign * noise) for sign in (1, -1)]
        error = (both[0] + both[1]) / 2
        return Loss(self.flow.weighted(error, t), {"loss_flow": error.detach().mean()}, times=t)

    def loss_at(self, network: Network, x: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
        return self.flow.loss_at(network, x, condition, t, noise)

    def predict(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.flow.predict(network, z, t, condition, step)

    def velocity(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> Tensor:
        return self.flow.velocity(network, z, t, condition, step)

    def time_grid(self, steps: int) -> Tensor:
        return self.flow.time_grid(steps)

    def label_time(self, label: Tensor) -> Tensor:
        return self.flow.label_time(label)

"""Muon: a matrix steps along the orthogonal factor of its momentum; everything else steps as AdamW does.

Jordan et al., "Muon", 2024; scaled after arXiv 2502.16982, Sec. 2.2, so that AdamW's learning rates and weight decay
hold. The Muon of torch takes no kernels of convolutions, which are most of this network, and always computes in
bfloat16, which few CPUs have (docs/decisions.md#muon).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the Newton-Schulz iteration. Singular values come within a third of 1, which is enough."""

SCALE = 0.2
"""Root mean square of a step in units of the learning rate, as AdamW's steps usually have."""

LEAST_SIDE, MOST_ROWS = 32, 1024
"""Smaller and taller matrices step as AdamW does: the factor costs more than it gains."""

FLAT = 6
"""Columns for each row from which the iteration goes by squares: measured on a CPU with AVX512-BF16."""


def matrices_of(model: nn.Module) -> list[Tensor]:
    """The weights of linear layers and convolutions that Muon takes; a kernel counts as (out, in * height * width)."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    return [
        layer.weight
        for layer in layers
        if LEAST_SIDE <= layer.weight.shape[0] <= MOST_ROWS and layer.weight[0].numel() >= LEAST_SIDE
    ]


class Muon(torch.optim.AdamW):
    """AdamW whose `matrices` step by Muon. The state is AdamW's, so a run can resume with either.

    dtype: of the orthogonal factors; bfloat16 is exact enough, and faster where the hardware has it.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        matrices: Iterable[Tensor],
        dtype: torch.dtype = torch.float32,
        **adamw: Any,
    ) -> None:
        super().__init__(parameters, **adamw)
        self.dtype = dtype
        self.matrices = {id(parameter) for parameter in matrices}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient. Gradients of matrices are set to None."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if id(parameter) in self.matrices and parameter.grad is not None:
                    alike[parameter.shape[0], parameter[0].numel()].append(parameter)
            for (rows, columns), members in alike.items():
                ahead = self._momenta(members, group["betas"][1])
                stacked = torch.stack([momentum.reshape(rows, columns) for momentum in ahead])
                factors = orthogonal(stacked.to(self.dtype)).float()
                steps = [factor.reshape(p.shape) for p, factor in zip(members, factors, strict=True)]
                torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(members, steps, alpha=-group["lr"] * SCALE * max(rows, columns) ** 0.5)
                for parameter in members:
                    parameter.grad = None
        return super().step(closure)

    def _momenta(self, parameters: Sequence[Tensor], decay: float) -> Sequence[Tensor]:
        """Nesterov momentum of each parameter. The second moment is kept up for AdamW only."""
        gradients, means, squares = [], [], []
        for parameter in parameters:
            state, gradient = self.state[parameter], parameter.grad
            assert gradient is not None
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            gradients.append(gradient)
            means.append(state["exp_avg"])
            squares.append(state["exp_avg_sq"])
        # All at once: on a GPU a call costs more than what it computes.
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - decay)
        return torch._foreach_lerp(gradients, means, MOMENTUM)


def orthogonal(matrices: Tensor) -> Tensor:
    """The orthogonal factors (b, m, n) of matrices (b, m, n), singular values between about 0.7 and 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
    x = _by_squares(x) if x.device.type == "cpu" and x.shape[2] >= FLAT * x.shape[1] else _in_turn(x)
    return x.mT if tall else x


def _in_turn(x: Tensor) -> Tensor:
    first, second, third = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=second, alpha=third)
        x = torch.baddbmm(x, polynomial, x, beta=first)
    return x


def _by_squares(x: Tensor) -> Tensor:
    """The same for flat matrices: what all iterations multiply x by, from its square alone.

    The square takes float32: rounded to bfloat16 it would have eigenvalues below 0, which the iteration blows up.
    """
    first, second, third = COEFFICIENTS
    square, whole = x.float() @ x.float().mT, torch.eye(x.shape[1])
    for last in range(ITERATIONS - 1, -1, -1):
        polynomial = torch.baddbmm(square, square, square, beta=second, alpha=third)
        polynomial.diagonal(dim1=1, dim2=2).add_(first)
        whole = polynomial @ whole
        square = polynomial @ square @ polynomial if last else square
    return whole.to(x.dtype) @ x

"""Transport: integrate the velocity field from the degraded latent (t = 0) to the restored one (t = 1).

Straight path z_t = (1 - t) z_0 + t z_1, so v = z_1 - z_0 (arXiv 2603.26385; no noise at either end).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from rar_cli.types import SolverKind

Field = Callable[[Tensor, float], Tensor]
"""(z, t) -> v, all of z's shape."""

Solver = Callable[[Field, Tensor, float, float], Tensor]


def euler(field: Field, z: Tensor, t: float, t_next: float) -> Tensor:
    """One step of first order."""
    return z + (t_next - t) * field(z, t)


def heun(field: Field, z: Tensor, t: float, t_next: float) -> Tensor:
    """One step of second order: the mean of the velocities at both ends."""
    v = field(z, t)
    v_next = field(z + (t_next - t) * v, t_next)
    return z + (t_next - t) * 0.5 * (v + v_next)


SOLVERS: dict[str, Solver] = {SolverKind.EULER: euler, SolverKind.HEUN: heun}


def time_grid(steps: int) -> tuple[float, ...]:
    """Strictly increasing times from 0 to 1; `steps` = len(times) - 1."""
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    return tuple(i / steps for i in range(steps + 1))


def transport(field: Field, z_0: Tensor, times: Sequence[float], solver: Solver = euler) -> Tensor:
    """Carry z_0 along `times` to z_1."""
    z = z_0
    for t, t_next in zip(times, times[1:], strict=False):
        z = solver(field, z, t, t_next)
    return z


def on_path(z_0: Tensor, z_1: Tensor, t: Tensor) -> Tensor:
    """The latent at time t (b,) on the straight path from z_0 to z_1."""
    t = t.view(-1, *([1] * (z_0.dim() - 1)))
    return (1 - t) * z_0 + t * z_1


def velocity_to_target(v: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
    """The end z_1 of a straight path that passes z_t at time t (b,) with velocity v."""
    return z_t + (1 - t.view(-1, *([1] * (z_t.dim() - 1)))) * v

import pytest
import torch

from rar_cli.loop.transport import SOLVERS, on_path, time_grid, transport, velocity_to_target
from rar_cli.types import SolverKind


def test_every_name_of_a_solver_has_its_function():
    assert list(SOLVERS) == list(SolverKind)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_a_constant_field_moves_z_by_exactly_that_constant(solver, steps):
    z = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    c = torch.randn_like(z)
    assert torch.allclose(transport(lambda z, t: c, z, time_grid(steps), solver), z + c, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_straight_velocity_lands_on_z_1(solver, steps):
    z_0, z_1 = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    landed = transport(lambda z, t: z_1 - z_0, z_0, time_grid(steps), solver)
    assert torch.allclose(landed, z_1, atol=1e-12)
    wrong_sign = transport(lambda z, t: z_0 - z_1, z_0, time_grid(steps), solver)
    assert not torch.allclose(wrong_sign, z_1, atol=1e-3)
    wrong_way = transport(lambda z, t: z_1 - z_0, z_0, time_grid(steps)[::-1], solver)
    assert not torch.allclose(wrong_way, z_1, atol=1e-3)


def test_a_field_that_depends_on_time_is_read_at_the_right_times():
    z = torch.zeros(1, dtype=torch.float64)
    moved = transport(lambda z, t: torch.full_like(z, 3 * t**2), z, time_grid(200), SOLVERS["heun"])
    assert moved.item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_order_of_the_solver(name, order):
    def error(steps: int) -> float:
        z = torch.ones(1, dtype=torch.float64)
        return abs(transport(lambda z, t: -z, z, time_grid(steps), SOLVERS[name]).item() - 0.36787944117144233)

    assert error(40) / error(80) == pytest.approx(2**order, rel=0.05)


def test_velocity_to_target_inverts_the_path():
    z_0, z_1 = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    t = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    assert torch.allclose(velocity_to_target(z_1 - z_0, on_path(z_0, z_1, t), t), z_1, atol=1e-12)
    assert torch.equal(on_path(z_0, z_1, t)[0], z_0[0])
    assert torch.equal(on_path(z_0, z_1, t)[-1], z_1[-1])


def test_time_grid_increases_from_0_to_1_and_refuses_no_steps():
    times = time_grid(7)
    assert times[0] == 0.0
    assert times[-1] == 1.0
    assert len(times) == 8
    assert all(a < b for a, b in zip(times, times[1:], strict=False))
    with pytest.raises(ValueError, match="got 0"):
        time_grid(0)

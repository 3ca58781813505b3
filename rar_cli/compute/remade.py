"""What a layer makes of its weight, kept until the weight changes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Remade:
    """Calls `make` on a weight at first use, and again after the weight has learned, moved or been loaded."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make
        self.made: tuple[tuple[int, int], Tensor] | None = None

    def of(self, weight: Tensor) -> Tensor:
        """The tensor made of this weight as it is now."""
        state = (weight.data_ptr(), -1 if weight.is_inference() else weight._version)
        if self.made is None or self.made[0] != state:
            self.made = state, self.make(weight.detach())
        return self.made[1]

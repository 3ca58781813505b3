"""Two simple policies as peers of the heads of gain. They run the same networks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rar_cli.bench.peers import Peer
from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import restore
from rar_cli.loop.policy import FixedPolicy, Policy, SimplePolicy


def simple_policies(engine: Engine) -> dict[str, Peer]:
    """Name -> image (h, w, 3) in [0, 1] restored by that policy."""
    policies: dict[str, Policy] = {
        "remove everything once": FixedPolicy(),
        "accept or remove everything": SimplePolicy(),
    }
    return {name: _by(engine, policy) for name, policy in policies.items()}


def _by(engine: Engine, policy: Policy) -> Peer:
    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0)
        (outcome,) = restore(engine, batch, policy)
        return image if outcome.image is None else outcome.image[0].permute(1, 2, 0).numpy()

    return run

"""CUDA graphs of training: what a step may not do, and that replays are the same as plain steps."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rar_cli.networks.model import Rar
from rar_cli.train.config import Crops, Stage, TrainConfig
from rar_cli.train.data import Batch, StepBatches
from rar_cli.train.run.graphs import Graphs
from rar_cli.train.stages import Losses, let_learn, losses

STAGE = Stage("restore", "restorer", steps=9, loss="log_mse", unrolled=0.5, crops=(Crops(4, 48, 32), Crops(2, 64, 32)))


@pytest.fixture
def batches() -> StepBatches:
    photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return StepBatches([photo], TrainConfig("tiny", (STAGE,)))


class Calls(TorchDispatchMode):
    """Counts what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def test_a_step_never_asks_the_host_for_a_number_nor_hands_it_one(busy, batches):
    let_learn(busy)
    batch = batches[0].to(torch.device("cpu"))
    with Calls() as calls:
        losses(busy, batch, STAGE).total.backward()
    assert calls.names["convolution"] > 10
    for waits in ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "equal", "is_nonzero"):
        assert calls.names[waits] == 0, waits


@pytest.mark.skipif(not torch.cuda.is_available(), reason="captures on CUDA alone")
def test_replayed_steps_give_the_losses_and_gradients_of_plain_ones(busy: Rar, batches: StepBatches):
    model = busy.cuda()
    let_learn(model)

    def step(batch: Batch, _: str) -> Losses:
        found = losses(model, batch, STAGE)
        found.total.backward()
        return found

    graphs = Graphs(step, model.parameters(), torch.device("cuda"))
    for number in range(6):  # three batches of either shape
        replayed = graphs(batches[number].pin_memory(), STAGE.name).total.item()
        gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        assert replayed == pytest.approx(step(batches[number].to(torch.device("cuda")), "").total.item(), rel=1e-3)
        for found, parameter in zip(gradients, model.parameters(), strict=True):
            assert (found is None) == (parameter.grad is None)
            if found is not None:
                torch.testing.assert_close(found, parameter.grad, rtol=1e-2, atol=1e-4)
    assert len(graphs.graphs) == 2

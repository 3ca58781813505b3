"""Forward and backward as CUDA graphs: one for each shape of batch, captured once and replayed.

Without them a network this small waits for the host, which launches thousands of short kernels in each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from rar_cli.errors import UsageError
from rar_cli.train.config import TrainConfig
from rar_cli.train.data import Batch
from rar_cli.train.stages import Losses

WARM_UP = 3
"""Steps before the capture, on a stream of their own, in which libraries choose kernels and take memory."""

Step = Callable[[Batch, str], Losses]
"""Forward and backward on a batch that is on the device, for the stage of that name; gradients go to the parameters."""


@dataclass(frozen=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    batch: Batch
    losses: Losses
    gradients: tuple[Tensor | None, ...]


class Graphs:
    """Calls `step` by graphs. Afterwards the gradients are those of this step alone.

    A step may depend on the stage and on shapes, never on numbers in the batch.
    """

    def __init__(self, step: Step, parameters: Iterable[nn.Parameter], device: torch.device) -> None:
        self.step, self.parameters, self.device = step, list(parameters), device
        self.graphs: dict[object, _Graph] = {}
        self.pool = torch.cuda.graph_pool_handle()  # one replays at a time, so that they can share their memory
        # Where gradients are summed up is decided once per parameter: warming up and capturing share a stream.
        self.aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, batch: Batch, stage: str) -> Losses:
        """One step on a batch on the CPU, in 8 bits, best in pinned memory."""
        key = (stage, batch.window_px, *(tuple(tensor.shape) for tensor in batch.tensors().values()))
        if key not in self.graphs:
            self.graphs[key] = self._captured(batch, stage)
        found = self.graphs[key]
        ready = found.batch.tensors()
        for name, tensor in batch.tensors().items():
            ready[name].copy_(tensor, non_blocking=True)
        found.graph.replay()
        for parameter, gradient in zip(self.parameters, found.gradients, strict=True):
            parameter.grad = gradient
        return found.losses

    def _captured(self, batch: Batch, stage: str) -> _Graph:
        """The step captured on a batch of these shapes, whose tensors stay where the graph reads them."""
        placed = batch.each(lambda tensor: tensor.to(self.device))

        def step() -> Losses:
            return self.step(placed.unpacked(), stage)

        self.aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.aside):
            for _ in range(WARM_UP):
                self._forget()
                step()
        torch.cuda.current_stream().wait_stream(self.aside)
        self._forget()  # so that the capture makes gradients of its own
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: the one that pins the next batches calls what a capture forbids.
        with torch.cuda.graph(graph, pool=self.pool, stream=self.aside, capture_error_mode="thread_local"):
            found = step()
        losses = Losses(found.total.detach(), {name: part.detach() for name, part in found.parts.items()})
        return _Graph(graph, placed, losses, tuple(parameter.grad for parameter in self.parameters))

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def graphs_of(config: TrainConfig, accelerator: Accelerator, step: Step, body: nn.Module) -> Graphs | None:
    """The graphs, where the config sets them and the device has them. Raises UsageError where they are impossible."""
    if not config.cuda_graphs or accelerator.device.type != "cuda":
        return None
    if accelerator.num_processes > 1 or config.mixed_precision == "fp16" or config.accumulate > 1:
        raise UsageError("cuda_graphs: for one process, in bf16 or float32, one batch a step; leave it out")
    return Graphs(step, body.parameters(), accelerator.device)

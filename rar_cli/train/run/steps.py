"""The steps of a run: batches in order, and one optimizer step for each."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Sampler

from rar_cli.train.data import Batch, leave_signals_to_the_run
from rar_cli.train.run.graphs import graphs_of
from rar_cli.train.run.parts import Parts
from rar_cli.train.stages import Losses


class _From(Sampler[int]):
    """Steps in order, from where the run stands."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        return self.last - self.first


def batches_from(step: int, parts: Parts) -> Generator[Batch]:
    """The batches of all steps from a global one on; close it to let its workers go."""
    config, accelerator = parts.config, parts.accelerator
    loader = DataLoader(
        parts.batches,
        batch_size=None,
        sampler=_From(step, config.total_steps),
        num_workers=config.workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=leave_signals_to_the_run,
    )
    batches = iter(loader)
    try:
        yield from batches
    finally:
        # Workers ignore the signal that would end them with the process: after an error both would wait forever.
        getattr(batches, "_shutdown_workers", lambda: None)()


class Steps:
    """Learns from one batch after another."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        # The CPU's flash kernel takes many times as long as plain products for so few tokens in bfloat16.
        on_cpu = parts.accelerator.device.type == "cpu"
        self.plain = partial(sdpa_kernel, SDPBackend.MATH) if on_cpu else nullcontext
        self.norm = torch.zeros((), device=parts.accelerator.device)
        self.graphs = graphs_of(parts.config, parts.accelerator, self._forward_and_back, parts.body)

    def __call__(self, batch: Batch, stage_name: str, rate: float) -> dict[str, Tensor]:
        """One step at a learning rate; the parts of its loss, and the norm of the last whole gradient."""
        accelerator, optimizer = self.parts.accelerator, self.parts.optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.accumulate(self.parts.body):
            if self.graphs is not None:
                found = self.graphs(batch, stage_name)
            else:
                found = self._forward_and_back(batch.to(accelerator.device), stage_name)
            if accelerator.sync_gradients:
                self._descend()
        return {**found.parts, "grad_norm": self.norm}

    def _descend(self) -> None:
        """Clip, step where the gradient is finite, forget it, and let the average follow."""
        accelerator, parts = self.parts.accelerator, self.parts
        self.norm = accelerator.clip_grad_norm_(parts.body.parameters(), parts.config.clip_norm)
        if torch.isfinite(self.norm):
            parts.optimizer.step()
        parts.optimizer.zero_grad(set_to_none=True)
        if parts.average is not None:
            parts.average.update_parameters(accelerator.unwrap_model(parts.body).model)

    def _forward_and_back(self, batch: Batch, stage_name: str) -> Losses:
        with self.plain():  # going back as well, where checkpointed layers run once more
            with self.parts.accelerator.autocast():
                found: Losses = self.parts.body(batch, stage_name, self.parts.config)
            self.parts.accelerator.backward(found.total)
        return found

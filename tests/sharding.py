"""`rar` on CPUs that `accelerate` takes for GPUs: it shards models over GPUs alone, while torch does on CPUs too.

Run by `torch.distributed.run`, as `accelerate launch --use_fsdp` does; the rest is what runs on GPUs.
"""

from __future__ import annotations

from typing import Any

from accelerate import state
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from rar_cli.cli import app

as_it_is = state.AcceleratorState.__init__


def as_on_gpus(self: Any, *args: Any, fsdp_plugin: FullyShardedDataParallelPlugin | None = None, **more: Any) -> None:
    as_it_is(self, *args, fsdp_plugin=fsdp_plugin, **more)
    if fsdp_plugin is None:
        return
    if self.mixed_precision != "no":
        fsdp_plugin.set_mixed_precision(self.mixed_precision)
    self.fsdp_plugin = fsdp_plugin
    self.distributed_type = state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    state.AcceleratorState.__init__ = as_on_gpus
    app(prog_name="rar")

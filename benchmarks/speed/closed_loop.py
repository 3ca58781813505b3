"""What leaving the latent space costs in a further round, at the true sizes of a config, with random weights.

    python benchmarks/speed/closed_loop.py                        # the small model
    python benchmarks/speed/closed_loop.py --config rar-l         # at paper scale: 22 GiB of memory, five minutes

Times do not depend on the values of weights, so an untrained model can be timed. The disjoint loop decodes, assesses
from pixels and encodes again, as separate tools do. Prints one JSON line.
"""

import argparse
import json

import torch

from rar_cli.bench.cost import stage_seconds
from rar_cli.engine.engine import Engine
from rar_cli.engine.options import EngineOptions
from rar_cli.networks.model import Rar
from rar_cli.train.config import load_config, shipped_config


def random_model(config: str) -> Rar:
    """The config's model, its restorer in bfloat16 to fit, filled with noise; buffers are ones, for some divide."""
    with torch.device("meta"):
        model = Rar(load_config(shipped_config(config)).model)
    model.restorer.to(torch.bfloat16)
    model = model.to_empty(device="cpu").requires_grad_(False).eval()
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02
    for parameter in model.parameters():
        for part in torch.split(parameter.data.view(-1), len(noise)):
            part.copy_(noise[: len(part)])
    for buffer in model.buffers():
        buffer.fill_(1)
    return model


def main() -> None:
    """Time the stages, and put the two loops together from them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rar-s")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    engine = Engine(random_model(options.config), EngineOptions(dtype="bfloat16"))
    image = torch.rand(1, 3, options.side, options.side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        seconds = stage_seconds(engine, image, options.repeats)
    closed = seconds["assess"] + seconds["transport"]
    disjoint = closed + seconds["decode"] + 2 * seconds["encode"]  # two tools, each of which encodes
    print(json.dumps({
        "config": options.config, "side_px": options.side, "threads": torch.get_num_threads(),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "further_round_closed": round(closed, 3), "further_round_disjoint": round(disjoint, 3),
        "disjoint_over_closed": round(disjoint / closed, 2),
    }))  # fmt: skip


if __name__ == "__main__":
    main()

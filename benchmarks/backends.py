"""Transport by other means: what each backend makes of the same restorer, side by side in one run.

    pip install openvino onnxruntime onnx onnxscript
    python benchmarks/backends.py
    python benchmarks/backends.py --only compiled --dtype bfloat16

Prints one JSON line per backend: milliseconds per transport (median), seconds to prepare, and the
largest difference to the direct result. A backend that is not installed or fails says so.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch._inductor.config
from torch import Tensor, nn

from rar_cli.bench.cost import median_seconds
from rar_cli.model import Rar
from rar_cli.weights import find
from rar_cli.winograd import speed_up

Inputs = tuple[Tensor, Tensor, Tensor]
Run = Callable[[], Tensor]


def direct(restorer: nn.Module, inputs: Inputs) -> Run:
    """PyTorch as it is: oneDNN's direct convolutions in channels_last."""
    return lambda: restorer(*inputs)


def winograd(restorer: nn.Module, inputs: Inputs) -> Run:
    """What rar does on CPUs in float32."""
    speed_up(restorer)
    return lambda: restorer(*inputs)


def compiled(restorer: nn.Module, inputs: Inputs) -> Run:
    """torch.compile, inductor's C++, weights frozen and packed; anew for every shape."""
    torch._inductor.config.freezing = True
    fast = torch.compile(restorer, dynamic=False)
    fast(*inputs)
    return lambda: fast(*inputs)


def fused(restorer: nn.Module, inputs: Inputs) -> Run:
    """TorchScript, frozen, with oneDNN graph fusion."""
    torch.jit.enable_onednn_fusion(True)
    fast = torch.jit.freeze(torch.jit.trace(restorer, inputs, check_trace=False))
    for _ in range(3):
        fast(*inputs)
    return lambda: fast(*inputs)


def onnxruntime(restorer: nn.Module, inputs: Inputs) -> Run:
    """ONNX Runtime's CPU provider."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "restorer.onnx"
        names = ["latent", "t", "condition"]
        torch.onnx.export(restorer, inputs, path, input_names=names, dynamo=True, verbose=False)
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {name: x.contiguous().numpy() for name, x in zip(names, inputs, strict=True)}
    return lambda: torch.from_numpy(session.run(None, feed)[0])


def openvino(restorer: nn.Module, inputs: Inputs) -> Run:
    """OpenVINO's CPU plugin in float32."""
    import openvino as ov

    converted = ov.convert_model(restorer, example_input=inputs)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    fast = ov.Core().compile_model(converted, "CPU", settings)
    feed = [x.contiguous().numpy() for x in inputs]
    return lambda: torch.from_numpy(fast(feed)[0])


BACKENDS = {f.__name__: f for f in (direct, winograd, compiled, fused, onnxruntime, openvino)}


def fresh(folder: Path) -> nn.Module:
    """The restorer, untouched by what was tried before."""
    return Rar.load(folder).restorer.to(memory_format=torch.channels_last)


@contextmanager
def reported(found: dict[str, object]) -> Iterator[None]:
    """A failure is a figure too."""
    try:
        yield
    except Exception as error:  # whatever a backend raises
        found["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    print(json.dumps(found), flush=True)


def main() -> None:
    """Run the backends asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=BACKENDS, action="append")
    parser.add_argument("--side", type=int, default=768, help="pixels")
    parser.add_argument("--weights", default="rar-s")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of PyTorch's backends")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    folder = find(options.weights).folder
    params = Rar.load(folder).params
    cells = options.side // params.codec.factor
    torch.manual_seed(0)
    latent = torch.randn(1, params.restorer.channels, cells, cells).to(memory_format=torch.channels_last)
    condition = torch.randn(1, params.restorer.condition_tokens, params.restorer.condition_width)
    inputs = (latent, torch.zeros(1), condition)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected = fresh(folder)(*inputs)
        base = median_seconds(direct(fresh(folder), inputs))
        for name in options.only or BACKENDS:
            found: dict[str, object] = {
                "backend": name,
                "side_px": options.side,
                "dtype": options.dtype,
                "threads": torch.get_num_threads(),
            }
            with reported(found):
                began = time.perf_counter()
                run = BACKENDS[name](fresh(folder), inputs)
                found["prepare_s"] = round(time.perf_counter() - began, 1)
                seconds = median_seconds(run)
                found["ms"] = round(1e3 * seconds, 1)
                found["times_as_fast"] = round(base / seconds, 2)
                found["difference"] = float((run() - expected).abs().max())


if __name__ == "__main__":
    main()

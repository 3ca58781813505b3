"""Transport by other backends, with the same restorer, side by side in one run.

    pip install openvino onnxruntime onnx onnxscript
    python benchmarks/speed/backends.py
    python benchmarks/speed/backends.py --only compiled --dtype bfloat16
    python benchmarks/speed/backends.py --only kernels --only winograd --threads 1
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/speed/backends.py --only kernels --only winograd

Each backend runs in alternation with the direct one. Prints one JSON line per backend: median milliseconds per
transport, those that the processor worked, both beside the direct one, seconds to prepare, the largest difference from
the direct result, and the PSNR between the restored pictures. A backend that is missing or fails is reported.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor, nn

from rar_cli.compute.convolutions import quicken
from rar_cli.compute.winograd import speed_up
from rar_cli.networks.model import Rar
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.images import picture_to_image
from rar_cli.weights.find import find, shipped

Inputs = tuple[Tensor, Tensor, Tensor]
Run = Callable[[], Tensor]


def direct(restorer: nn.Module, inputs: Inputs) -> Run:
    """PyTorch as it is: oneDNN's direct convolutions in channels_last."""
    return lambda: restorer(*inputs)


def kernels(restorer: nn.Module, inputs: Inputs) -> Run:
    """What rar does on CPUs: its own kernels where there is a compiler, and they gain in this precision."""
    quicken(restorer, torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
    return lambda: restorer(*inputs)


def winograd(restorer: nn.Module, inputs: Inputs) -> Run:
    """What rar does on CPUs without AVX-512 in float32 where there is no compiler."""
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
    return _onnx(restorer, inputs)


def onnxruntime_int8(restorer: nn.Module, inputs: Inputs) -> Run:
    """ONNX Runtime with weights (per channel) and features of convolutions in int8, calibrated on this very input."""
    return _onnx(restorer, inputs, int8=True)


def _onnx(restorer: nn.Module, inputs: Inputs, int8: bool = False) -> Run:
    import onnxruntime as ort

    names = ["latent", "t", "condition"]
    feed = {name: x.contiguous().numpy() for name, x in zip(names, inputs, strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "restorer.onnx"
        torch.onnx.export(restorer, inputs, path, input_names=names, dynamo=True, verbose=False)
        if int8:
            path = _quantised(path, feed)
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: torch.from_numpy(session.run(None, feed)[0])


def _quantised(path: Path, feed: dict[str, Any]) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Once(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = iter([feed])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    ready, small = path.with_name("ready.onnx"), path.with_name("int8.onnx")
    quant_pre_process(path, ready)
    quantize_static(
        ready, small, Once(), QuantFormat.QDQ, ["Conv", "ConvTranspose"], per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return small


class Int8Conv(nn.Module):
    """A convolution that holds its weights in int8, a scale per output channel, and makes them float at every use."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        scale = conv.weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / 127
        self.register_buffer("weight", (conv.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias, self.stride, self.padding = conv.bias, conv.stride, conv.padding

    def forward(self, x: Tensor) -> Tensor:
        """x (b, c, h, w) -> features."""
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)  # type: ignore[arg-type]


def weights_int8(restorer: nn.Module, inputs: Inputs) -> Run:
    """Weights alone in int8: a quarter of their memory, the same arithmetic."""
    for parent in list(restorer.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d:
                setattr(parent, name, Int8Conv(child))
    return lambda: restorer(*inputs)


def openvino(restorer: nn.Module, inputs: Inputs) -> Run:
    """OpenVINO's CPU plugin in float32."""
    import openvino as ov

    converted = ov.convert_model(restorer, example_input=inputs)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    fast = ov.Core().compile_model(converted, "CPU", settings)
    feed = [x.contiguous().numpy() for x in inputs]
    return lambda: torch.from_numpy(fast(feed)[0])


BACKENDS = {
    f.__name__: f
    for f in (direct, kernels, winograd, compiled, fused, weights_int8, onnxruntime, onnxruntime_int8, openvino)
}


def scene(side: int) -> Tensor:
    """A noisy sample, as often as it takes, image (1, 3, side, side) in [0, 1]."""
    path = shipped("samples") / "degraded" / "chelsea.png"
    image = picture_to_image(read_picture(path.read_bytes(), str(path))).float() / 255.0
    down, across = (-(-side // n) for n in image.shape[-2:])
    return image.repeat(1, 1, down, across)[..., :side, :side]


def fresh(folder: Path) -> nn.Module:
    """The restorer, untouched by what was tried before."""
    return Rar.load(folder).restorer.to(memory_format=torch.channels_last)


def alternating(runs: list[Run], repeats: int) -> list[tuple[float, float]]:
    """Median seconds of each, by the clock and by the processor's own time, one after another in turns."""
    took: list[list[tuple[float, float]]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for run, times in zip(runs, took, strict=True):
            clock, processor = time.perf_counter(), time.process_time()
            run()
            times.append((time.perf_counter() - clock, time.process_time() - processor))
    return [(median(a for a, _ in times[1:]), median(b for _, b in times[1:])) for times in took]


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
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    folder = find(options.weights).folder
    model = Rar.load(folder)
    with torch.no_grad():
        latent = model.codec.encode(scene(options.side)).contiguous(memory_format=torch.channels_last)
        inputs = (latent, torch.zeros(1), model.assessor(latent).condition)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected = fresh(folder)(*inputs)
        base = direct(fresh(folder), inputs)
        for name in options.only or BACKENDS:
            found: dict[str, object] = {
                "backend": name,
                "side_px": options.side,
                "dtype": options.dtype,
                "cpu": torch.backends.cpu.get_cpu_capability(),
                "threads": torch.get_num_threads(),
            }
            with reported(found):
                began = time.perf_counter()
                run = BACKENDS[name](fresh(folder), inputs)
                found["prepare_s"] = round(time.perf_counter() - began, 1)
                (clock, worked), (direct_clock, direct_worked) = alternating([run, base], options.repeats)
                found["ms"], found["worked_ms"] = round(1e3 * clock, 1), round(1e3 * worked, 1)
                found["times_as_fast"] = round(direct_clock / clock, 2)
                found["times_less_work"] = round(direct_worked / worked, 2)
                found["difference"] = float((run() - expected).abs().max())
                found["db_apart"] = round(-10 * float(model.codec.mse(run(), expected).clamp_min(1e-12).log10()), 1)


if __name__ == "__main__":
    main()

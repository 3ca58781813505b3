"""Metrics as restoration papers compute them, each from a well-kept package, with unit and direction.

All take images (h, w, 3) float in [0, 1]. Metrics whose package or weights are missing are left out, never fetched.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import mean_squared_error, structural_similarity

Image = NDArray[np.float32]

CAP_DB = 100.0
"""PSNR of identical pictures; a mean stays finite."""

MS_SSIM_PX = 176
"""Smallest side that five scales of an 11-pixel window fit into."""


@dataclass(frozen=True)
class Metric:
    """compute: (image, reference) -> value; metrics without a reference ignore it. better: "higher" or "lower"."""

    compute: Callable[[Image, Image], float | None]
    unit: str
    better: str
    package: str
    needs_reference: bool = True

    def about(self) -> dict[str, Any]:
        """Its entry in the JSON document."""
        return {"unit": self.unit, "better": self.better, "package": self.package, "reference": self.needs_reference}


def psnr_db(image: Image, reference: Image) -> float:
    """PSNR over R, G and B together, in dB."""
    mse = float(mean_squared_error(image.astype(np.float64), reference.astype(np.float64)))
    return min(-10.0 * float(np.log10(mse)), CAP_DB) if mse > 0 else CAP_DB


def psnr_y_db(image: Image, reference: Image) -> float:
    """PSNR of the luma (ITU-R BT.601, 16 to 235 of 255), in dB, as deraining papers report it."""
    return psnr_db(luma(image), luma(reference))


def ssim(image: Image, reference: Image) -> float:
    """SSIM (Wang et al. 2004: Gaussian window, sigma 1.5), mean of R, G and B."""
    return _ssim(image, reference, channel_axis=2)


def ssim_y(image: Image, reference: Image) -> float:
    """SSIM of the luma."""
    return _ssim(luma(image), luma(reference), channel_axis=None)


def ms_ssim(image: Image, reference: Image) -> float | None:
    """Multi-scale SSIM (Wang et al. 2003) of R, G and B; None for pictures too small for five scales."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as compute

    if min(image.shape[:2]) < MS_SSIM_PX:
        return None
    return float(compute(_tensor(image), _tensor(reference), data_range=1.0))


def lpips(image: Image, reference: Image) -> float:
    """LPIPS (Zhang et al., CVPR 2018) with AlexNet."""
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as compute

    return float(compute(_tensor(image), _tensor(reference), net_type="alex", normalize=True))


def dists(image: Image, reference: Image) -> float:
    """DISTS (Ding et al., TPAMI 2020)."""
    from torchmetrics.functional.image import deep_image_structure_and_texture_similarity as compute

    return float(compute(_tensor(image), _tensor(reference)))


def piqe(image: Image, reference: Image) -> float | None:
    """PIQE (Venkatanath et al., NCC 2015), of the image alone; None where no block can be judged."""
    from pypiqe import piqe as compute

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(compute(np.rint(image * 255.0).astype(np.uint8))[0])
    return value if np.isfinite(value) else None


METRICS: dict[str, Metric] = {
    "psnr_db": Metric(psnr_db, "dB", "higher", "scikit-image"),
    "psnr_y_db": Metric(psnr_y_db, "dB", "higher", "scikit-image"),
    "ssim": Metric(ssim, "1", "higher", "scikit-image"),
    "ssim_y": Metric(ssim_y, "1", "higher", "scikit-image"),
}


def metrics_here() -> dict[str, Metric]:
    """The metrics that can be computed here, by name."""
    found = dict(METRICS)
    if _has("torchmetrics"):
        found["ms_ssim"] = Metric(ms_ssim, "1", "higher", "torchmetrics")
        if _has("torchvision") and _has_checkpoint("alexnet-owt-*.pth"):
            found["lpips"] = Metric(lpips, "1", "lower", "torchmetrics")
        if _has("torchvision") and _has_checkpoint("vgg16-*.pth"):
            found["dists"] = Metric(dists, "1", "lower", "torchmetrics")
    if _has("pypiqe"):
        found["piqe"] = Metric(piqe, "0 to 100", "lower", "pypiqe", needs_reference=False)
    return found


def measure(image: Image, reference: Image, metrics: Mapping[str, Metric] = METRICS) -> dict[str, float | None]:
    """Every metric of an image, clipped to [0, 1] first."""
    clipped = np.clip(image, 0.0, 1.0)
    return {name: metric.compute(clipped, reference) for name, metric in metrics.items()}


def luma(image: Image) -> Image:
    """RGB in [0, 1] -> Y in [16, 235] / 255."""
    return (rgb2ycbcr(image)[..., 0] / 255.0).astype(np.float64)


def _ssim(image: Image, reference: Image, channel_axis: int | None) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image on windows larger than tiny pictures
        if min(image.shape[:2]) < 11:
            return float(np.array_equal(image, reference))
        found = structural_similarity(
            image.astype(np.float64), reference.astype(np.float64), data_range=1.0, channel_axis=channel_axis,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
    return float(found)


def _tensor(image: Image) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1).unsqueeze(0)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _has_checkpoint(pattern: str) -> bool:
    import torch

    return any(Path(torch.hub.get_dir(), "checkpoints").glob(pattern))

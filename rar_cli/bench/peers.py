"""Peers: other methods, run on the same pictures.

Each maps an image (h, w, 3) float32 in [0, 1] to one of the same shape. Parameters are the usual ones or estimated from
the picture, never fitted to the reference.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import restoration

from rar_cli.errors import ImageError, UsageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.images import Picture

Image = NDArray[np.float32]
Peer = Callable[[Image], Image]


def non_local_means(image: Image) -> Image:
    """OpenCV's coloured non-local means, strength from the estimated noise."""
    sigma = float(np.mean(restoration.estimate_sigma(image, channel_axis=-1))) * 255
    strength = max(sigma * 0.8, 1.0)
    return _real(cv2.fastNlMeansDenoisingColored(_bytes(image), None, strength, strength, 7, 21))


def bilateral(image: Image) -> Image:
    """OpenCV's bilateral filter."""
    return np.asarray(cv2.bilateralFilter(image, 9, 0.15, 5.0), np.float32)


def clahe(image: Image) -> Image:
    """Contrast-limited adaptive histogram equalisation of the lightness."""
    lab = cv2.cvtColor(_bytes(image), cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    return _real(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def unsharp(image: Image) -> Image:
    """Unsharp masking, radius 2, amount 1."""
    return np.asarray(2.0 * image - cv2.GaussianBlur(image, (0, 0), 2.0), np.float32)


def dark_channel_prior(image: Image) -> Image:
    """Dehazing by the dark channel prior (He, Sun and Tang, CVPR 2009), guided-filter refinement."""
    window = cv2.getStructuringElement(cv2.MORPH_RECT, (15, 15))

    def dark(x: Image) -> Image:
        return np.asarray(cv2.erode(np.ascontiguousarray(x.min(axis=2)), window), np.float32)

    flat = image.reshape(-1, 3)
    brightest = np.argsort(dark(image).ravel())[-max(len(flat) // 1000, 1) :]
    airlight = flat[brightest].max(axis=0)
    raw = 1.0 - 0.95 * dark(image / np.maximum(airlight, 0.05))
    grey = np.ascontiguousarray(image.mean(axis=2), np.float32)
    transmission = _guided(grey, raw.astype(np.float32), 40, 1e-3)
    clear = (image - airlight) / np.maximum(transmission, 0.1)[..., None] + airlight
    return np.asarray(clear, np.float32)


def wavelet(image: Image) -> Image:
    """scikit-image's wavelet denoising, BayesShrink."""
    return np.asarray(restoration.denoise_wavelet(image, channel_axis=-1, convert2ycbcr=True), np.float32)


def total_variation(image: Image) -> Image:
    """scikit-image's total-variation denoising (Chambolle)."""
    return np.asarray(restoration.denoise_tv_chambolle(image, weight=0.1, channel_axis=-1), np.float32)


def richardson_lucy(image: Image) -> Image:
    """scikit-image's Richardson-Lucy deconvolution of a Gaussian blur of sigma 2."""
    axis = np.arange(-6, 7)
    kernel = np.exp(-(axis[:, None] ** 2 + axis**2) / 8.0)
    kernel /= kernel.sum()
    channels = [restoration.richardson_lucy(image[..., c], kernel, num_iter=10) for c in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)


PEERS: dict[str, Peer] = {
    "opencv nlm": non_local_means,
    "opencv bilateral": bilateral,
    "opencv clahe": clahe,
    "opencv unsharp": unsharp,
    "dark channel prior": dark_channel_prior,
    "skimage wavelet": wavelet,
    "skimage tv": total_variation,
    "skimage richardson-lucy": richardson_lucy,
}


def command(text: str) -> tuple[str, Peer]:
    """ "name=cmd {in} {out}" -> a peer that runs the command on PNG files."""
    name, _, line = text.partition("=")
    if not name or "{in}" not in line or "{out}" not in line:
        raise UsageError(f"--peer {text}: write 'name=command {{in}} {{out}}'")

    def run(image: Image) -> Image:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.png"
            source.write_bytes(encode_picture(Picture(_bytes(image), "PNG"), "PNG")[0])
            words = [w.replace("{in}", str(source)).replace("{out}", str(target)) for w in shlex.split(line)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, check=False)
            except OSError as error:
                raise ImageError(f"peer {name}: {error.strerror}: {words[0]}") from error
            if done.returncode or not target.exists():
                last = (done.stderr.strip().splitlines() or ["no output written"])[-1]
                raise ImageError(f"peer {name}: exit code {done.returncode} ({last})")
            return _real(read_picture(target.read_bytes(), str(target)).pixels)

    return name, run


def _guided(guide: Image, x: Image, radius: int, epsilon: float) -> Image:
    """Guided filter (He, Sun and Tang, ECCV 2010) by box means."""

    def mean(a: Image) -> Image:
        return np.asarray(cv2.blur(a, (2 * radius + 1, 2 * radius + 1)), np.float32)

    mean_guide, mean_x = mean(guide), mean(x)
    slope = (mean(guide * x) - mean_guide * mean_x) / (mean(guide * guide) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_x - slope * mean_guide)


def _bytes(image: Image) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _real(pixels: NDArray[np.uint8] | cv2.typing.MatLike) -> Image:
    return (np.asarray(pixels) / 255.0).astype(np.float32)

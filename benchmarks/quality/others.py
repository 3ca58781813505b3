"""Pairs degraded by other people's code: does a model of rar's own synthesis restore them?

    pip install albumentations imagecorruptions-imaug
    python benchmarks/quality/others.py valid/ others/ --limit 6
    for kind in others/*; do rar bench "$kind"; done

Writes OTHERS/KIND/degraded and OTHERS/KIND/reference, the same every time. It imports nothing of rar, so the two
packages can live in an environment of their own.
"""

import argparse
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import albumentations as A  # noqa: N812 - its own custom
import cv2
import numpy as np
from imagecorruptions import corrupt

Pixels = np.ndarray
Kind = Callable[[Pixels, int], Pixels]
"""(image (h, w, 3) uint8 RGB, seed) -> the same, degraded."""

LONGEST_PX = 640
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}

ALBUMENTATIONS = {
    "a_dark": A.RandomGamma(gamma_limit=(250, 300), p=1),
    "a_defocus": A.Defocus(radius=(3, 4), p=1),
    "a_down": A.Downscale(
        scale_range=(0.4, 0.4),
        interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_CUBIC},
        p=1,
    ),
    "a_fog": A.RandomFog(fog_coef_range=(0.4, 0.6), alpha_coef=0.1, p=1),
    "a_gauss_noise": A.GaussNoise(std_range=(0.08, 0.12), p=1),
    "a_iso": A.ISONoise(color_shift=(0.02, 0.05), intensity=(0.4, 0.6), p=1),
    "a_jpeg20": A.ImageCompression(quality_range=(15, 25), p=1),
    "a_motion": A.MotionBlur(blur_limit=(9, 13), p=1),
    "a_rain_drizzle": A.RandomRain(rain_type="drizzle", p=1),
    "a_rain_heavy": A.RandomRain(rain_type="heavy", p=1),
    "a_shot": A.ShotNoise(scale_range=(0.1, 0.2), p=1),
    "a_snow": A.RandomSnow(method="texture", p=1),
    "a_webp": A.ImageCompression(quality_range=(10, 20), compression_type="webp", p=1),
}
CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "motion_blur",
    "gaussian_blur", "snow", "fog", "jpeg_compression", "pixelate",
)  # fmt: skip


def augmented(transform: A.BasicTransform, image: Pixels, seed: int) -> Pixels:
    """One transform of albumentations."""
    return A.Compose([transform], seed=seed)(image=image)["image"]


def corrupted(name: str, image: Pixels, seed: int) -> Pixels:
    """One corruption of ImageNet-C, third severity of five."""
    np.random.seed(seed)  # noqa: NPY002 - what that package draws from
    random.seed(seed)
    return corrupt(image, corruption_name=name, severity=3).astype(np.uint8)


def hazy(image: Pixels, seed: int) -> Pixels:
    """Koschmieder's law over a plane."""
    transmission = np.exp(-np.linspace(1.6, 0.5, image.shape[0]))[:, None, None]
    return quantised(image / 255 * transmission + 0.9 * (1 - transmission))


def dark(image: Pixels, seed: int) -> Pixels:
    """An eighth of the light."""
    return quantised(((image / 255) ** 2.2 * 0.12) ** (1 / 2.2))


def dark_and_noisy(image: Pixels, seed: int) -> Pixels:
    """An eighth of the light, and sigma 8."""
    noise = np.random.default_rng(seed).normal(0, 0.03, image.shape)
    return quantised(dark(image, seed) / 255 + noise)


def rain_in_haze(image: Pixels, seed: int) -> Pixels:
    """Heavy rain, then haze."""
    return hazy(augmented(ALBUMENTATIONS["a_rain_heavy"], image, seed), seed)


def blurred_jpeg(image: Pixels, seed: int) -> Pixels:
    """Gaussian blur, then JPEG."""
    blurred = cv2.GaussianBlur(image, (0, 0), 1.6)
    data = cv2.imencode(".jpg", blurred[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def quantised(image: np.ndarray) -> Pixels:
    """[0, 1] -> uint8."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


KINDS: dict[str, Kind] = {
    **{name: partial(augmented, transform) for name, transform in ALBUMENTATIONS.items()},
    **{f"c_{name}": partial(corrupted, name) for name in CORRUPTIONS},
    "h_haze": hazy, "h_dark": dark, "h_dark_noise": dark_and_noisy, "h_rain_haze": rain_in_haze,
    "h_blur_jpeg": blurred_jpeg,
}  # fmt: skip


def photograph(path: Path) -> Pixels:
    """RGB, the longer side at most `LONGEST_PX`."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    scale = LONGEST_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])


def main() -> None:
    """Write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clean", type=Path)
    parser.add_argument("others", type=Path)
    parser.add_argument("--limit", type=int, default=6, help="photographs, evenly chosen")
    options = parser.parse_args()
    paths = sorted(p for p in options.clean.rglob("*") if p.suffix.lower() in SUFFIXES)
    paths = paths[:: max(len(paths) // options.limit, 1)][: options.limit]
    photographs = [photograph(path) for path in paths]
    for name, kind in KINDS.items():
        for side in ("degraded", "reference"):
            (options.others / name / side).mkdir(parents=True, exist_ok=True)
        for seed, clean in enumerate(photographs):
            for side, image in (("degraded", kind(clean, seed)), ("reference", clean)):
                cv2.imwrite(str(options.others / name / side / f"{seed:02d}.png"), image[..., ::-1])


if __name__ == "__main__":
    main()

"""The nine degradations as seeded pure functions; `recipes` stacks them.

Covered: many models per degradation (see each function), severity in [0, 1] mapped to real
parameter ranges.
Not covered: spatially varying blur, rolling shutter, lens flare, rain drops on the glass.

Images here are numpy arrays (h, w, 3), float32, sRGB-encoded, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.resampling import FILTERS, GROWING, SHRINKING, resized, softened_before, usual_factor
from rar_cli.types import Degradation

Image = NDArray[np.float32]
Model = Callable[[Image, float, Generator], Image]


def degrade(image: Image, degradation: Degradation, severity: float, seed: int) -> Image:
    """Degrade (h, w, 3) in [0, 1] with `severity` in [0, 1]; the same seed gives the same picture."""
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity must lie in [0, 1], got {severity}")
    degraded = MODELS[degradation](image, severity, np.random.default_rng(seed))
    return np.clip(degraded, 0.0, 1.0).astype(np.float32)


# --- sensor -------------------------------------------------------------------------------------


def noise(image: Image, severity: float, rng: Generator) -> Image:
    """Gaussian, Poisson-Gaussian, chroma-correlated, film-grain, speckle or impulse noise; sigma 2 to 70 of 255."""
    sigma = (2.0 + 68.0 * severity**1.2) / 255.0
    kind = rng.choice(6, p=(0.43, 0.2, 0.13, 0.12, 0.07, 0.05))
    white = rng.standard_normal(image.shape, np.float32)
    if kind == 0:
        return image + sigma * white
    if kind == 1:  # shot noise grows with the square root of the signal; a part is read noise
        share = rng.uniform(0.0, 0.6)
        spread = np.sqrt(share + (1.0 - share) * image / 0.45)
        return image + sigma * spread.astype(np.float32) * white
    if kind == 2:  # demosaicked sensors: coarser and stronger in chroma than in luma
        grain = _correlated(rng, image.shape, rng.uniform(0.4, 1.2))
        weights = np.asarray((rng.uniform(0.3, 0.8), 1.0, rng.uniform(0.7, 1.0)), np.float32)
        mixing = np.asarray(((1, 0, 1.4), (1, -0.34, -0.71), (1, 1.77, 0)), np.float32)
        chroma = (grain * weights) @ mixing.T
        return image + sigma * chroma / np.float32(chroma.std() + 1e-6)
    if kind == 4:  # speckle: in proportion to the signal
        return np.asarray(image * (1.0 + 2.0 * sigma * white), np.float32)
    if kind == 5:  # dead and hot pixels, per colour or of all at once
        drawn = rng.random(image.shape if rng.random() < 0.6 else (*image.shape[:2], 1))
        share = 2.0 * sigma**2  # whose mean squared error is about that of sigma
        extremes = np.where(drawn < share, 0.0, np.where(drawn > 1.0 - share, 1.0, image))
        return extremes.astype(np.float32)
    luma = image.mean(axis=2, keepdims=True)
    grain = _correlated(rng, (*image.shape[:2], 1), rng.uniform(0.3, 1.0))
    strength = 0.4 + 2.4 * luma * (1.0 - luma)  # film grain is strongest in the middle tones
    tinted = grain + rng.uniform(0.0, 0.3) * white
    return image + sigma * strength.astype(np.float32) * tinted


def jpeg(image: Image, severity: float, rng: Generator) -> Image:
    """JPEG (4:2:0 or 4:4:4) or WebP, once or twice on shifted grids; quality 90 down to 5."""
    quality = int(round(5 + 85 * (1.0 - severity) ** 2))
    if rng.random() < 0.2:
        first = int(rng.integers(quality, 96))
        dy, dx = (int(v) for v in rng.integers(0, 8, 2))
        image = np.roll(recompress(np.roll(image, (dy, dx), (0, 1)), first, ".jpg", rng), (-dy, -dx), (0, 1))
    return recompress(image, quality, file_type(rng), rng)


def file_type(rng: Generator) -> str:
    """What photographs are kept in: ".jpg", sometimes ".webp"."""
    return ".webp" if rng.random() < 0.15 else ".jpg"


def recompress(image: Image, quality: int, extension: str, rng: Generator) -> Image:
    """The image (h, w, 3) as a file gives it back: ".webp", or ".jpg" of 4:2:0 or 4:4:4; quality 1 to 100."""
    pixels = np.rint(np.clip(image, 0, 1) * 255.0).astype(np.uint8)
    if extension == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    else:
        halved = rng.random() < 0.7
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(extension, pixels[..., ::-1], options)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return (decoded[..., ::-1].astype(np.float32) / 255.0).astype(np.float32)


# --- optics -------------------------------------------------------------------------------------


def blur(image: Image, severity: float, rng: Generator) -> Image:
    """Gaussian (round or oblong), disc, or generalised Gaussian; sigma 0.4 to 4 px."""
    sigma = 0.4 + 3.6 * severity
    kind = rng.choice(4, p=(0.4, 0.2, 0.25, 0.15))
    if kind == 0:
        return _reflect_gaussian(image, sigma)
    radius = int(np.ceil(2.5 * sigma)) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    if kind == 2:  # defocus: a disc with a soft rim
        kernel = np.clip(1.6 * sigma + 0.5 - np.hypot(x, y), 0.0, 1.0)
        return _filter(image, kernel)
    angle = rng.uniform(0, np.pi)
    squeeze = rng.uniform(0.4, 1.0)
    u = (x * np.cos(angle) + y * np.sin(angle)) / sigma
    v = (-x * np.sin(angle) + y * np.cos(angle)) / (sigma * squeeze)
    power = 1.0 if kind == 1 else rng.uniform(0.5, 3.0)
    return _filter(image, np.exp(-0.5 * (u * u + v * v) ** power))


def motion_blur(image: Image, severity: float, rng: Generator) -> Image:
    """Camera shake along a straight or curved path of 3 to 30 px."""
    length = 3.0 + 27.0 * severity
    bend = 0.0 if rng.random() < 0.5 else rng.normal(0.0, 1.2)
    samples = max(int(length * 4), 8)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(np.full(samples, bend / samples))
    if bend:
        heading += np.cumsum(rng.normal(0.0, 0.6 / np.sqrt(samples), samples))
    step = length / samples
    path = np.stack([np.cumsum(np.sin(heading)), np.cumsum(np.cos(heading))], 1) * step
    exposure, centre = np.ones(samples), (path.max(0) + path.min(0)) / 2
    if rng.random() < 0.25:  # a flash and what follows, or ImageMagick's half Gaussian: sharpest where it begins
        fade = np.linspace(0.0, rng.uniform(2.5, 6.0), samples)
        exposure, centre = np.exp(-fade if rng.random() < 0.4 else -0.5 * fade**2), path[0]
    path -= centre
    radius = int(np.ceil(np.abs(path).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    base = np.floor(path).astype(int)
    part = path - base
    for dy in (0, 1):
        for dx in (0, 1):
            weight = exposure * np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(kernel, (base[:, 0] + dy + radius, base[:, 1] + dx + radius), weight)
    return _filter(image, kernel)


def low_resolution(image: Image, severity: float, rng: Generator) -> Image:
    """Down by 1.1 to 5, half the time by 1.5 or a whole number, and up again, each with a filter of its own."""
    factor = usual_factor(1.1 + 3.9 * severity, rng)
    height, width = image.shape[:2]
    small = (max(round(width / factor), 1), max(round(height / factor), 1))
    shrink, grow = (FILTERS[rng.choice(len(FILTERS), p=odds)] for odds in (SHRINKING, GROWING))
    if softened_before(shrink) and rng.random() < 0.6:
        image = _reflect_gaussian(image, 0.4 * factor)
    return resized(resized(image, small, shrink), (width, height), grow)


# --- scene --------------------------------------------------------------------------------------


def low_light(image: Image, severity: float, rng: Generator) -> Image:
    """Linear-light under-exposure, gamma darkening, contrast loss or crushed blacks, with the noise it brings."""
    kind = rng.choice(4, p=(0.38, 0.34, 0.2, 0.08))
    if kind == 0:
        dark = to_srgb(to_linear(image) * 10.0 ** (-0.15 - 1.6 * severity))
    elif kind == 1:
        light = min(rng.uniform(1.0 - 0.5 * severity, 1.0 + 0.5 * severity), 1.0)  # half the time white stays white
        dark = (image * light) ** (1.2 + 2.8 * severity)
    elif kind == 2:
        dark = image * (1.0 - (0.25 + 0.6 * severity)) + rng.uniform(0.0, 0.03)
    else:
        dark = np.clip(image * (1.0 - 0.5 * severity) - rng.uniform(0.05, 0.1 + 0.3 * severity), 0.0, 1.0)
    if rng.random() < 0.3:  # tungsten or moonlight
        dark = dark * rng.uniform(0.85, 1.0, 3).astype(np.float32)
    if rng.random() < 0.5:
        read = rng.uniform(0.0, 0.012) * (0.3 + severity)
        shot = rng.uniform(0.0, 0.05) * severity * np.sqrt(np.clip(dark, 0.0, 1.0))
        grain = rng.standard_normal(image.shape, np.float32)
        return np.asarray(dark + (read + shot) * grain, np.float32)
    return np.asarray(dark, np.float32)


def haze(image: Image, severity: float, rng: Generator) -> Image:
    """Koschmieder's law, I = J t + A (1 - t), over depth-like fields of several kinds."""
    depth = _depth(image, rng)
    transmission = np.exp(-(0.15 + 2.35 * severity) * depth)[..., None]
    airlight = np.clip(rng.uniform(0.65, 1.0) + rng.normal(0.0, 0.025, 3), 0, 1)
    if rng.random() < 0.2:  # lit unevenly, as banks of fog are
        airlight = airlight * rng.uniform(0.1, 0.9) ** _fractal_field(image.shape[:2], rng)[..., None]
    return (image * transmission + airlight * (1.0 - transmission)).astype(np.float32)


def rain(image: Image, severity: float, rng: Generator) -> Image:
    """One to four layers of streaks, fallen or drawn, with their own length, width and direction, and a veil."""
    layers = 1 + int(rng.integers(0, 1 + round(3 * severity)))
    main_angle = rng.normal(0.0, 25.0)
    spread = rng.choice((4.0, 30.0), p=(0.75, 0.25))
    make = _streaks if rng.random() < 0.65 else _strokes
    streaks = np.zeros(image.shape[:2], np.float32)
    for _ in range(layers):
        layer = make(image.shape[:2], severity / np.sqrt(layers), main_angle + rng.normal(0, spread), rng)
        streaks = np.maximum(streaks, layer) if rng.random() < 0.5 else streaks + layer
    adds = rng.random() < 0.5
    tint = (rng.uniform(0.75 if adds else 0.55, 1.0) + rng.normal(0.0, 0.02, 3)).astype(np.float32)
    streaks = np.clip(streaks, 0.0, 1.0)[..., None]
    wet = image + streaks * tint if adds else image + streaks * (tint - image)
    if rng.random() < 0.4:
        veil = rng.uniform(0.0, 0.3) * severity
        wet = wet * (1.0 - veil) + veil * rng.uniform(0.6, 0.9)
    if rng.random() < 0.15:  # a storm: the air softens all, and the sky is dark
        wet = _reflect_gaussian(np.asarray(wet, np.float32), rng.uniform(0.3, 1.0 + 1.5 * severity))
        wet = wet * rng.uniform(1.0 - 0.5 * severity, 1.0)
    return np.asarray(wet, np.float32)


def snow(image: Image, severity: float, rng: Generator) -> Image:
    """Flakes of several sizes, sharp to blurred, still to streaked, or clumps in a gust, over a faint veil."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.float32)
    if rng.random() < 0.2:
        cover = _clumps((height, width), severity, rng)
        bleached = np.maximum(image, 0.5 + 1.5 * image.mean(axis=2, keepdims=True))
        image = (image + rng.uniform(0.0, 0.4) * severity * (bleached - image)).astype(np.float32)
    else:
        for size in rng.choice((0.7, 1.0, 1.6, 2.4, 3.6), int(rng.integers(2, 5)), replace=False):
            cover = np.maximum(cover, _flakes((height, width), float(size), severity, rng))
    opacity = rng.uniform(0.7, 1.0)
    flakes = (opacity * np.clip(cover, 0.0, 1.0))[..., None]
    white = (rng.uniform(0.85, 1.0) + rng.normal(0.0, 0.01, 3)).astype(np.float32)
    snowy = image * (1.0 - flakes) + white * flakes
    if rng.random() < 0.5:
        veil = rng.uniform(0.0, 0.25) * severity
        snowy = snowy * (1.0 - veil) + veil * 0.9
    return np.asarray(snowy, np.float32)


MODELS: dict[Degradation, Model] = {
    Degradation.NOISE: noise,
    Degradation.BLUR: blur,
    Degradation.MOTION_BLUR: motion_blur,
    Degradation.JPEG: jpeg,
    Degradation.LOW_LIGHT: low_light,
    Degradation.HAZE: haze,
    Degradation.RAIN: rain,
    Degradation.SNOW: snow,
    Degradation.LOW_RESOLUTION: low_resolution,
}


# --- parts --------------------------------------------------------------------------------------


def to_linear(image: Image) -> Image:
    """sRGB [0, 1] -> linear light [0, 1]."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: Image) -> Image:
    """linear light [0, 1] -> sRGB [0, 1]."""
    bright = 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, bright).astype(np.float32)


def _reflect_gaussian(image: Image, sigma: float) -> Image:
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)


def _filter(image: Image, kernel: NDArray[np.float32]) -> Image:
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)


def _correlated(rng: Generator, shape: tuple[int, ...], sigma: float) -> Image:
    """Gaussian noise of unit variance whose neighbours are correlated over `sigma` px."""
    white = rng.standard_normal(shape, np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), sigma).reshape(shape)
    return np.asarray(smooth / (smooth.std() + 1e-6), np.float32)


def _smooth_field(shape: tuple[int, int], cells: int, rng: Generator) -> NDArray[np.float32]:
    """A smooth random field in [0, 1] with about `cells` bumps along each side."""
    coarse = rng.random((cells + 2, cells + 2)).astype(np.float32)
    field = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return _stretched(np.asarray(field, np.float32))


def _stretched(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """A field stretched to [0, 1]."""
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / (high - low + 1e-6), np.float32)


def _fractal_field(shape: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    """A random field in [0, 1] with detail at every size, as smoke and banks of fog have."""
    decay = rng.uniform(1.4, 2.6)
    octaves = [_smooth_field(shape, 2**k, rng) / np.float32(decay**k) for k in range(1, 7)]
    return _stretched(np.asarray(np.sum(octaves, axis=0), np.float32))


def _depth(image: Image, rng: Generator) -> NDArray[np.float32]:
    """A depth-like field in [0, 1]: flat, plane, cloud, hollow, tied to the picture's own light, or fractal."""
    shape = (image.shape[0], image.shape[1])
    kind = rng.choice(6, p=(0.2, 0.27, 0.17, 0.08, 0.18, 0.1))
    if kind == 0:
        return np.full(shape, rng.uniform(0.4, 1.0), np.float32)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    if kind == 1:  # far at the top, tilted
        field = 0.5 - 0.5 * y + rng.normal(0.0, 0.3) * x
    elif kind == 2:
        field = 0.7 * _smooth_field(shape, 2, rng) + 0.3 * _smooth_field(shape, 6, rng)
    elif kind == 3:
        field = 1.0 - np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5)) / 2.0
    elif kind == 5:
        field = _fractal_field(shape, rng)
    else:  # bright, smooth parts tend to be sky
        sigma = max(shape) * rng.uniform(0.01, 0.06)
        field = _reflect_gaussian(np.ascontiguousarray(image.mean(axis=2)), float(sigma)) - 0.4 * y
    near = rng.uniform(0.0 if kind == 5 else 0.1, 0.6)
    return np.asarray(near + (1.0 - near) * _stretched(field), np.float32)


def _streaks(shape: tuple[int, int], strength: float, angle_degrees: float, rng: Generator) -> NDArray[np.float32]:
    """One layer of rain streaks in [0, 1]; `angle_degrees` from the vertical."""
    length = rng.uniform(6.0, 14.0) + 40.0 * rng.random() * strength
    width = rng.uniform(0.5, 1.0 + 1.0 * strength)
    if rng.random() < 0.15:  # near the lens
        width *= rng.uniform(1.5, 3.0)
    density = (0.004 + 0.035 * strength * rng.uniform(0.5, 1.5)) / max(width, 0.7)
    drops = (rng.random(shape) < density).astype(np.float32) * rng.uniform(0.4, 1.0, shape).astype(np.float32)
    half = int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    angle = np.deg2rad(angle_degrees)
    along = x * np.sin(angle) + y * np.cos(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    fade = np.clip((length / 2 - np.abs(along)) / (0.3 * length) + 0.3, 0.0, 1.0)
    kernel = (np.clip(width / 2 + 0.5 - np.abs(across), 0.0, 1.0) * fade).astype(np.float32)
    layer = cv2.filter2D(drops, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:  # rain comes in sheets
        layer = layer * (0.3 + 0.7 * _smooth_field(shape, 3, rng))
    brightness = (0.15 + 0.75 * strength) * rng.uniform(0.7, 1.2)
    return np.asarray(np.clip(layer, 0.0, 1.0) * brightness, np.float32)


def _strokes(shape: tuple[int, int], strength: float, angle_degrees: float, rng: Generator) -> NDArray[np.float32]:
    """One layer of even strokes in [0, 1], sharp to soft; `angle_degrees` from the vertical."""
    height, width = shape
    thickness = int(rng.choice((1, 2, 3, 5, 7), p=(0.47, 0.27, 0.14, 0.09, 0.03)))
    near = max(thickness / 3.0, 1.0)  # wide strokes are near, so fewer, and out of focus
    count = int(height * width * (0.0002 + 0.0018 * strength) * rng.uniform(0.4, 1.5) / near**2) + 1
    lengths = (rng.uniform(8.0, 20.0) + 50.0 * rng.random() * strength) * rng.uniform(0.6, 1.2, count)
    angles = np.deg2rad(angle_degrees + rng.normal(0.0, rng.choice((0.0, 4.0)), count))
    starts = rng.random((count, 2)) * (width, height)
    ends = starts + lengths[:, None] * np.stack([np.sin(angles), np.cos(angles)], 1)
    layer = np.zeros(shape, np.uint8)
    strokes = np.rint(np.stack([starts, ends], 1) * 16).astype(np.int32)  # in sixteenths of a pixel
    cv2.polylines(layer, list(strokes), False, 255, thickness, cv2.LINE_AA, 4)
    drawn = layer.astype(np.float32) / np.float32(255.0)
    if rng.random() < 0.6 or near > 1.0:
        drawn = _reflect_gaussian(drawn, rng.uniform(0.4, 2.2))
    return np.asarray(drawn * (rng.uniform(0.3, 1.0) / near), np.float32)


def _clumps(shape: tuple[int, int], severity: float, rng: Generator) -> NDArray[np.float32]:
    """Snow in a gust, in [0, 1]: the peaks of a grainy field, drawn out."""
    grain = rng.uniform(1.0, 4.0)
    coarse = (max(round(shape[1] / grain), 2), max(round(shape[0] / grain), 2))
    field = cv2.resize(rng.standard_normal(coarse[::-1], np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = (0.01 + 0.12 * severity) * rng.uniform(0.5, 1.5)
    peaks = np.clip(field - np.quantile(field, 1.0 - share), 0.0, 1.0).astype(np.float32)
    drawn = motion_blur(peaks, rng.uniform(0.1, 0.6), rng)
    return np.asarray(np.clip(drawn * (rng.uniform(1.0, 3.0) / (float(drawn.max()) + 1e-6)), 0.0, 1.0), np.float32)


def _flakes(shape: tuple[int, int], size: float, severity: float, rng: Generator) -> NDArray[np.float32]:
    """One layer of flakes of radius `size` px in [0, 1]."""
    density = (0.0015 + 0.02 * severity) * rng.uniform(0.5, 1.5) / (size**2 + 0.5)
    seeds = (rng.random(shape) < density).astype(np.float32) * rng.uniform(0.6, 1.0, shape).astype(np.float32)
    radius = int(np.ceil(size + 1))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    softness = rng.uniform(0.3, 1.5)
    stretch = rng.uniform(0.7, 1.0)
    flake = np.clip((size + 0.3 - np.hypot(x, y / stretch)) / softness, 0.0, 1.0)
    drift = cv2.filter2D(seeds, -1, flake.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    layer = np.asarray(drift, np.float32)
    if rng.random() < 0.5:
        layer = motion_blur(layer, rng.uniform(0.0, 0.25), rng) * 1.5
    return np.asarray(np.clip(layer, 0.0, 1.0), np.float32)

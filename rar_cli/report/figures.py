"""Figures for people: the labelled strip of rounds, and the heat map of degradations."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rar_cli.engine.engine import Engine, unit_range
from rar_cli.engine.places import OVERLAP_PX, places

Pixels = NDArray[np.uint8]

STRIP_PX = 480
"""Longest side of one picture of a strip."""

LABEL_PX = 22


def rounds_strip(pictures: Sequence[Pixels], labels: Sequence[str]) -> Pixels:
    """Pictures (h, w, 3) side by side in small, each under its label."""
    columns = [_labelled(p, label) for p, label in zip(pictures, labels, strict=True)]
    return np.concatenate(columns, axis=1)


def heatmap(engine: Engine, image: torch.Tensor) -> Pixels:
    """Image (1, 3, h, w) under colours: blue where nothing is wrong, red where the worst is (h, w, 3).

    The assessor judges overlapping windows of 128 px by themselves; a window counts with its largest
    severity. Small pictures are one window, and so one colour. A border has none.
    """
    heat, weight = (np.zeros(image.shape[-2:], np.float32) for _ in range(2))
    for place in places(engine, image):
        window = slice(*place.rows), slice(*place.columns)
        heat[window] += place.severities.max()
        weight[window] += 1
    smooth = np.asarray(cv2.GaussianBlur(heat / weight.clip(1), (0, 0), OVERLAP_PX / 2))
    colours = cv2.applyColorMap(np.rint(smooth.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    pixels = unit_range(image)[0].permute(1, 2, 0).numpy() * 255
    grey = pixels.mean(axis=2, keepdims=True)
    judged = weight[..., None] > 0
    return np.rint(np.where(judged, 0.5 * grey + 0.5 * colours, pixels)).astype(np.uint8)


def _labelled(pixels: Pixels, label: str) -> Pixels:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((STRIP_PX, STRIP_PX), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (picture.width, picture.height + LABEL_PX), "white")
    canvas.paste(picture, (0, LABEL_PX))
    ImageDraw.Draw(canvas).text((4, 3), label, fill="black", font=ImageFont.load_default(size=13))
    return np.asarray(canvas)

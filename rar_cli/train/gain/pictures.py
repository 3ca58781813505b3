"""Pictures to try plans on: what people have, from clean photographs to stacks of damage, drawings and dim scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Tried:
    """One picture, (h, w, 3) float32 in [0, 1], and what it should be; kind: what was done; source: the photograph."""

    degraded: Image
    reference: Image
    kind: str
    source: str

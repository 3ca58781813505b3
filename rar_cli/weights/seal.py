"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "785e2716ea975d27912b6c23a0b1f38f5da6ed64b0640823135d557cc5f46ac7",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

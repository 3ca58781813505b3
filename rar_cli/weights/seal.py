"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "f852b7c0c3ceccde3f49b40951f3643f471998d966e6c2efaf5e4c5c8b215948",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "200829aaf6ae53d8b615b145a1e0d840286efe15314504a01bf51dd988cad8a2",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "59a0bb3107e4be110ab5e10820f693b487606589e35fbe5b9002981a0d93408e",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "e7aae820d624c9d2f869747f1a7df242b35c7f7c21b13cbecf983af453809c69",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

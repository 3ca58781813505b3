"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "b4cba393130da014fb5ba37906420ffdd2ed245198b47aad95050828d84b7522",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

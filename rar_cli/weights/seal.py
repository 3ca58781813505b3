"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "71072c9771f09a478d3e93f517af198f42eca6b0ee07116d6fda9981a42d151f",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

"""The sha256 of the manifests of the weights that travel with rar.

`python scripts/seal_weights.py` writes them, and the manifests, after every change of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping

SEALS: Mapping[str, str] = {
    "rar-s": "2056715b5b17a9c1b6099105df40c1db85b993b218aeae24af295eeffd15f2a9",
}
"""name -> sha256 of its manifest.json; other weights under these names are refused."""

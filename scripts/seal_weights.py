"""Seal the weights that travel with rar: `python scripts/seal_weights.py`, after every change below weights/.

Writes each folder's manifest anew, then the manifests' sha256 into rar_cli/weights/seal.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rar_cli.weights.manifest import MANIFEST, file_sha256, write_manifest  # noqa: E402


def seal(weights: Path, target: Path) -> dict[str, str]:
    """Write the manifests below `weights` and the module `target`; returns name -> sha256."""
    seals = {}
    for path in sorted(weights.glob(f"*/{MANIFEST}")):
        about = json.loads(path.read_text())
        write_manifest(path.parent, about["name"], about["licence"], about["origin"])
        seals[path.parent.name] = file_sha256(path)
    before = target.read_text()
    start, end = before.index("SEALS: "), before.index("}\n", before.index("SEALS: ")) + 2
    rows = "".join(f'    "{name}": "{digest}",\n' for name, digest in seals.items())
    target.write_text(f"{before[:start]}SEALS: Mapping[str, str] = {{\n{rows}}}\n{before[end:]}")
    return seals


if __name__ == "__main__":
    for name, digest in seal(ROOT / "weights", ROOT / "rar_cli" / "weights" / "seal.py").items():
        sys.stdout.write(f"{name} {digest}\n")

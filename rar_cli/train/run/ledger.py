"""The ledger: one JSON line per event of training, appended and flushed, never rewritten."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path


class Ledger:
    """Appends to `training.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **fields: object) -> None:
        """Append one line: the event, the UTC time and its fields; floats to five digits."""
        line = {"event": event, "time": datetime.now(UTC).isoformat(timespec="seconds"), **fields}
        with self.path.open("a") as file:
            file.write(json.dumps(_rounded(line)) + "\n")

    def note(self, text: str) -> None:
        """What was learned, negative results too."""
        self.write("note", text=text)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}
    return value

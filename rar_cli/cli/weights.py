"""`rar download-weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rar_cli.cli.guard import guarded
from rar_cli.cli.options import JsonOption, QuietOption
from rar_cli.cli.printing import print_holdings, print_weights


def download_command(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A name from --list, rar-l for its parts, or owner/name on the hub.")
    ] = "rar-s",
    listing: Annotated[
        bool, typer.Option("--list", help="List all weights: size, licence, and whether they are here.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="Put the weights below this folder, not in the cache.", metavar="DIR")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Fetch from a mirror: an https URL or a folder.", metavar="URL|DIR")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the weights here against their sha256. Fetch nothing.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch weights and check them, or list what is here."""
    with guarded():
        from rar_cli.jobs.progress import transfer
        from rar_cli.weights.download import download, inventory, verify_here

        if listing:
            print_holdings(inventory(to), as_json)
            return
        if verify:
            found = verify_here(name, to)
        else:
            with transfer(quiet or as_json) as on_bytes:
                found = download(name, source, to, on_bytes)
        for weights in found:
            print_weights(weights, as_json)

"""`python -m rar_cli` is `rar`."""

from rar_cli.cli import app

app(prog_name="rar")

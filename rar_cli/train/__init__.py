"""Training: stages, data, losses, ledger. `run.train` is what `rar train` calls."""

"""The method: assess -> verdict -> transport, and nothing else."""

"""Inputs and OUTPUT -> jobs, each with the names of its files."""

"""Bytes of files <-> pictures <-> tensors."""

"""Codec, assessor, restorer, small and at paper scale."""

"""Names -> verified weight files."""

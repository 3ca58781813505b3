"""Records -> words, tables, one page."""

"""The records of a run: the round log, the book, the lock."""

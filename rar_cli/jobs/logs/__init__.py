"""What runs know of their outputs: the round log, the book, the lock."""

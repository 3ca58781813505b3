"""The nine degradations and stacks of them, seeded."""

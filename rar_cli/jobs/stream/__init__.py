"""Pictures on their way: read, restored, finished, written."""

"""A folder of files as a resumable stream."""

"""The heads of gain: try plans on many pictures, and learn from the results."""

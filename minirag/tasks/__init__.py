"""The tasks of the paper and their metrics."""

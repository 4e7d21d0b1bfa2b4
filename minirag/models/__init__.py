"""Transformers from scratch, and the reading of their checkpoints."""

"""Retrieval-augmented generation as Lewis et al. 2020 define it, written to be read."""

__version__ = "0.1.0"

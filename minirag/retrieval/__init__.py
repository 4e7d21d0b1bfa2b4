"""Passages become vectors; a question finds its top K among them."""

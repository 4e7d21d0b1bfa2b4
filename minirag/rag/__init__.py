"""Top-K passages → p(y|x) → an answer."""

"""Learning: what makes the small networks that ship."""

"""Text becomes passages."""

"""For the notebooks: pictures, checks, and what else a lesson needs."""

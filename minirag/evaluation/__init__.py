"""Running a task, measuring it, and saying so on a page."""

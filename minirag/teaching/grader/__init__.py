"""Grading for instructors: a student's code runs in a sandbox, and the check, its seed and what it expects stay outside.

`reading` reads what was handed in; `sandbox` starts a `worker`, which runs the notebook's cells and then calls the student's
functions when it is asked to; `session` starts it again when it has died; `remote` asks it, on behalf of an `Exercise` or a
`DesignTask`; `grade` does so for a class; `tables` and `feedback` write what came of it.
"""

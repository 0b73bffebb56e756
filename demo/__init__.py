"""A small essay-grading platform around Doorstep."""

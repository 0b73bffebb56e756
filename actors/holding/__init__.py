"""Logs to browsers: the holder actor, and what it decides."""

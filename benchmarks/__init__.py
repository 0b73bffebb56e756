"""Load, checks, costs and reports."""

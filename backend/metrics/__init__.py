"""Judges: one task a file, with its conventions, units, source and validation."""

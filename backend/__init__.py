"""Neuromuse's inference module: engine, instruments, models and audio. Imports no user interface."""

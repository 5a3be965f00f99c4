"""Violin: the generator with a low-rank adapter on it, and training one."""

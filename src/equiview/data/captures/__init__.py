"""Captures of real objects: posed photographs in the layouts people have."""

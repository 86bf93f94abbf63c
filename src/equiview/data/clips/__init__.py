"""Clips, with tracks where a data set has them: one file a data set."""

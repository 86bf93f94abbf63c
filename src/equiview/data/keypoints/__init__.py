"""Pairs of pictures with semantic key points, one file a data set."""

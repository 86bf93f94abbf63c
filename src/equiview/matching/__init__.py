"""Estimators: from feature maps to matches, key points, tracks and poses."""

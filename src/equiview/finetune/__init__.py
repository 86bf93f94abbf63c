"""Finetuning on correspondences: losses, pairs, augmentation, recipes, one plain loop."""

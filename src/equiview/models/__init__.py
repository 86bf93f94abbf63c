"""Backbones, adapters and heads, put together into models that turn pictures into feature maps."""

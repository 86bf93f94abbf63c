"""equiview: measure and improve the multiview equivariance of Vision Transformer features."""

__version__ = "0.1.0"

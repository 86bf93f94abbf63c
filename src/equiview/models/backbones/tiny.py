"""`equiview/tiny`: the small ViT that comes inside the package (src/equiview/models/weights/README.md is its card)."""

from pathlib import Path

TINY = "equiview/tiny"
TINY_FOLDER = Path(__file__).resolve().parents[1] / "weights" / "tiny"

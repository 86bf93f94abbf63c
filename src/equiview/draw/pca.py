"""Three principal components of tokens as colours: one basis, so that colours mean the same in every picture."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.linalg import eigh

from ..errors import bad_input
from ..types import FeatureMap

# The darkest and brightest colour stand for these percentiles of the fitted tokens; strays are clipped.
PERCENTILES = (2.0, 98.0)


@dataclass(frozen=True)
class PcaColours:
    """How tokens become colours.

    Attributes:
        mean: Of the fitted tokens of unit length.
        basis: Principal axes, largest variance first; fewer than three where there are fewer channels.
        low: Component that is colour 0.
        high: Component that is colour 1.
    """

    mean: Float[np.ndarray, "c"]
    basis: Float[np.ndarray, "k c"]
    low: Float[np.ndarray, "k"]
    high: Float[np.ndarray, "k"]

    def __call__(self, tokens: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n 3"]:
        """Return colours (0-1) of tokens of unit length; a component that is missing is 0."""
        components = (tokens - self.mean) @ self.basis.T
        colours = np.zeros((len(tokens), 3))
        colours[:, : len(self.basis)] = np.clip((components - self.low) / (self.high - self.low + 1e-12), 0, 1)
        return colours


def fit_pca(tokens: Float[np.ndarray, "n c"]) -> PcaColours:
    """Fit the colours to tokens of unit length; the same tokens always give the same colours.

    Memory: the tokens and a c x c matrix, in double precision.

    Raises:
        EquiviewError: No tokens, or they are not finite.
    """
    if not len(tokens) or not np.isfinite(tokens).all():
        found = "none" if not len(tokens) else "NaN or infinity"
        raise bad_input("tokens for PCA", "finite tokens", found, "Use fp32, or check the adapter.")
    mean = tokens.mean(0, dtype=np.float64)
    centred = tokens.astype(np.float64) - mean
    channels = centred.shape[1]
    axes = eigh(centred.T @ centred, subset_by_index=[max(0, channels - 3), channels - 1])[1]
    basis = axes.T[::-1]
    # The sign of each axis is arbitrary; fixing it keeps colours the same from run to run.
    basis = basis * np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(1)])[:, None]
    low, high = np.percentile(centred @ basis.T, PERCENTILES, axis=0)
    return PcaColours(mean, basis, low, high)


def unit_tokens(fmap: FeatureMap) -> Float[np.ndarray, "hw c"]:
    """Return a map's tokens row by row, of unit length, in double precision."""
    return F.normalize(fmap.tokens.float(), dim=0, eps=1e-12).flatten(1).T.cpu().double().numpy()


def colour_map(colours: PcaColours, fmap: FeatureMap) -> FeatureMap:
    """Return the colours (0-1) of every token as a map of three channels with the same geometry."""
    picture = colours(unit_tokens(fmap)).T.reshape(3, *fmap.hw)
    return fmap.replace_tokens(torch.from_numpy(picture).float())

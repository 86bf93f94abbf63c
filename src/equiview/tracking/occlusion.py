"""Which predictions are believed: cycle consistency and a likelihood ratio, fitted to the clip itself."""

import numpy as np
from jaxtyping import Bool, Float

# Below this many matches of one kind there is nothing to fit, and the cycle alone decides.
MIN_SAMPLES = 10
ROUNDS = 20


def visible_from(
    score: Float[np.ndarray, "n t"], consistent: Bool[np.ndarray, "n t"], own: Bool[np.ndarray, "n t"]
) -> Bool[np.ndarray, "n t"]:
    """Return where points are believed to be seen, without a fixed threshold and without labels.

    Two kinds of matches, seen and hidden, each with a normal distribution of the features' distance and its own chance
    to be cycle-consistent, are fitted to all matches of the clip by expectation-maximisation that starts at the cycle
    test. A match is visible when "seen" is the more likely kind.

    Args:
        score: Cosine of each match.
        consistent: True where the match leads back to the query.
        own: True at each point's query frame, which is visible and takes no part in the fit.
    """
    use = ~own & np.isfinite(score)
    seen = consistent.copy()
    if use.any():
        seen[use] = _fit(_distance(score[use]), consistent[use])
    return seen | own


def _distance(score: np.ndarray) -> np.ndarray:
    """Return the distance of two unit vectors with this cosine; unlike the cosine it is not cut off at its best."""
    return np.sqrt(2 * np.clip(1 - score.astype(np.float64), 0, None))


def _fit(value: Float[np.ndarray, "m"], consistent: Bool[np.ndarray, "m"]) -> Bool[np.ndarray, "m"]:
    if min(consistent.sum(), (~consistent).sum()) < MIN_SAMPLES:
        return consistent
    weight = np.where(consistent, 0.9, 0.1)
    for _ in range(ROUNDS):
        seen, hidden = (_log_likelihood(value, consistent, w) for w in (weight, 1 - weight))
        weight = 1 / (1 + np.exp(np.clip(hidden - seen, -50, 50)))
        if min(weight.sum(), (1 - weight).sum()) < 1:
            return consistent
    return weight > 0.5


def _log_likelihood(value: np.ndarray, consistent: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the log of share x normal density x chance of the cycle's outcome, fitted with these weights."""
    total = weight.sum()
    mean = (weight * value).sum() / total
    deviation = np.sqrt((weight * (value - mean) ** 2).sum() / total) + 1e-3 + 0.05 * value.std()
    chance = ((weight * consistent).sum() + 1) / (total + 2)
    normal = -0.5 * ((value - mean) / deviation) ** 2 - np.log(deviation)
    return np.log(total / len(value)) + normal + np.log(np.where(consistent, chance, 1 - chance))

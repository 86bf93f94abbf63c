"""Which predictions are believed: of the matches that do not lead back, as many as the clip's features can tell apart.

A match that does not lead back to its query is lost: the point is hidden, or it is there and the features fail. Most
points of most clips are seen, so a lost match is called hidden only as far as there is evidence in the features too.
"""

import numpy as np
from jaxtyping import Bool, Float

# Below this many matches of one kind nothing can be said about them, and the way back alone decides.
MIN_SAMPLES = 10
# Share of the matches that lead back whose features differ more than those of a "different" match.
TAIL = 0.1


def visible_from(
    score: Float[np.ndarray, "n t"],
    cycle_tokens: Float[np.ndarray, "n t"],
    own: Bool[np.ndarray, "n t"],
    limit_tokens: float = 3.0,
) -> Bool[np.ndarray, "n t"]:
    """Return where points are believed to be seen, without a threshold on cosines and without labels.

    Everything is visible but some of the lost matches, those that miss the query furthest and have the least similar
    features. How many: the share by which lost matches have other features than the matches that lead back. It is all
    of them where features are reliable (perfect ones: no seen point looks like a hidden one), and none where lost
    matches look like any others, since then they say nothing about visibility.

    Args:
        score: Cosine of each match.
        cycle_tokens: How far from the query the match leads back, tokens.
        own: True at each point's query frame, which is visible and takes no part.
        limit_tokens: A match that leads back this near is not lost.
    """
    use = ~own & np.isfinite(score) & np.isfinite(cycle_tokens)
    back = use & (cycle_tokens <= limit_tokens)
    lost = use & ~back
    if min(back.sum(), lost.sum()) < MIN_SAMPLES:
        return back | own
    distance = _distance(score)
    count = int(round(separable(distance[lost], distance[back]) * lost.sum()))
    seen = use | own
    if count:
        # The two differ in units; over the clip's matches both have mean 0 and deviation 1.
        doubt = _standard(np.log(cycle_tokens + 0.5), use) + _standard(distance, use)
        places = np.argwhere(lost)[np.argsort(-doubt[lost], kind="stable")[:count]]
        seen[tuple(places.T)] = False
    return seen


def separable(lost: Float[np.ndarray, "k"], back: Float[np.ndarray, "m"]) -> float:
    """Return the share (0-1) of lost matches that are told apart by the distance of their features.

    It is how many more of them lie beyond the tail of the others than by chance.
    """
    beyond = float((lost > np.quantile(back, 1 - TAIL)).mean())
    return max(0.0, (beyond - TAIL) / (1 - TAIL))


def _distance(score: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
    """Return the distance of two unit vectors with this cosine; unlike the cosine it is not cut off at its best."""
    return np.sqrt(2 * np.clip(1 - score.astype(np.float64), 0, None))


def _standard(value: Float[np.ndarray, "n t"], use: Bool[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
    return (value - value[use].mean()) / max(float(value[use].std()), 1e-9)

"""Between the tokens: how the similarities around the best token become a position.

Everything that turns a winning token into a place does it here: `measure`, `match`, transfer, tracking and pose; the
live page's `script/match.js` does the same, and is tested against this file. A fit asks for the similarity of each
query at the tokens it needs, through `rows` or `dots`, and never forms more of them.

A winner on the border of the map has a neighbour on one side only. `Localise.border` says what follows, axis by axis:

- `centre`: the position stays on the winner's centre along that axis, so it never leaves the rectangle of token
  centres. Used by all tasks but tracking; their published numbers were made with it.
- `extrapolate`: the parabola goes through the winner and the next two tokens inside, and its vertex may lie up to half
  a token beyond the outermost centres. Used by tracking, where a pull to the outermost centres adds up.

The window is symmetric at a border (`centre`, whatever is asked); the quadratic gives way to the parabola there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int

from ..errors import bad_input
from ..types import FeatureMap

Method = Literal["token", "parabola", "quadratic", "window", "paper", "argmax"]
Border = Literal["centre", "extrapolate"]
# Returns the similarity of query i and token index[i], for every i.
SimilarityAt = Callable[[Int[torch.Tensor, "n"]], Float[torch.Tensor, "n"]]


@dataclass(frozen=True)
class Localise:
    """How the best token becomes a position.

    Attributes:
        method: `token` is the best token's centre. `parabola` (another name: `argmax`) fits one through the best token
            and its neighbours on each axis, at most half a token away. `quadratic` fits x and y together (3x3 tokens,
            with a mixed term), which follows the slanted ridge of a foreshortened surface; where that has no peak
            within a token it is `parabola`. `window` is the soft-argmax over the tokens around the best one. `paper` is
            the published transfer, which searches pixels in place of tokens (`transfer.locate_paper`).
        window: Side of the window in tokens, odd.
        temperature: Of the window's softmax over cosines. The defaults were chosen on rendered procedural objects
            (windows of 3 to 9, temperatures 0.01 to 0.2), where 5 and 0.02 are level with `parabola`, larger ones
            worse.
        border: Where the winner lies on the border of the map, see the top of this file.
    """

    method: Method = "parabola"
    window: int = 5
    temperature: float = 0.02
    border: Border = "centre"

    def __post_init__(self) -> None:
        for what, value, known in (("localisation", self.method, Method), ("border", self.border, Border)):
            if value not in get_args(known):
                raise bad_input(what, " or ".join(get_args(known)), repr(value), "Check the spelling.")
        if self.window < 1 or self.window % 2 == 0:
            raise bad_input("window", "an odd number of tokens", str(self.window), "Use 3, 5 or 7.")
        if not self.temperature > 0:
            raise bad_input("temperature", "a positive number", str(self.temperature), "0.02 is the default.")
        if self.method == "argmax":
            object.__setattr__(self, "method", "parabola")


def rows(similarity: Float[torch.Tensor, "n hw"]) -> SimilarityAt:
    """Read similarities from rows that hold every token."""
    return lambda index: similarity.gather(1, index[:, None])[:, 0]


def dots(queries: Float[torch.Tensor, "n c"], target: FeatureMap) -> SimilarityAt:
    """Compute cosines when they are asked for, so that no row of them is formed.

    Args:
        queries: Of unit length.
        target: Its tokens are L2-normalised here.
    """
    tokens = target.tokens.flatten(1)

    def cosine(index: Int[torch.Tensor, "n"]) -> Float[torch.Tensor, "n"]:
        near = F.normalize(tokens[:, index].float(), dim=0, eps=1e-12)
        return (near * queries.T.to(near)).sum(0)

    return cosine


def fit(
    at: SimilarityAt, best: Int[torch.Tensor, "n"], hw: tuple[int, int], localise: Localise
) -> Float[torch.Tensor, "n 2"]:
    """Return where around the winning tokens the similarity peaks, in token coordinates.

    Args:
        at: Similarities, see `rows` and `dots`. Tokens that were not allowed to win may be asked for, too.
        best: The winning token of each query, numbered row by row.
        hw: Rows and columns of tokens.
        localise: How.

    Raises:
        EquiviewError: `paper`, which does not start from a winning token.
    """
    if localise.method not in FITS:
        fix = "`paper` is for `transfer` alone, over the whole picture."
        raise bad_input("localisation around a token", " or ".join(FITS), repr(localise.method), fix)
    return FITS[localise.method](at, best, hw, localise)


def _token(
    at: SimilarityAt, best: Int[torch.Tensor, "n"], hw: tuple[int, int], localise: Localise
) -> Float[torch.Tensor, "n 2"]:
    return torch.stack([best % hw[1], best // hw[1]], 1).float()


def _parabola(
    at: SimilarityAt, best: Int[torch.Tensor, "n"], hw: tuple[int, int], localise: Localise
) -> Float[torch.Tensor, "n 2"]:
    x = _vertex(at, best, 1, best % hw[1], hw[1], localise.border)
    y = _vertex(at, best, hw[1], best // hw[1], hw[0], localise.border)
    return _token(at, best, hw, localise) + torch.stack([x, y], 1)


def _vertex(
    at: SimilarityAt,
    best: Int[torch.Tensor, "n"],
    step: int,
    position: Int[torch.Tensor, "n"],
    size: int,
    border: Border,
) -> Float[torch.Tensor, "n"]:
    """Return the vertex (-0.5 to 0.5 token from the winner) of the parabola along one axis, 0 where there is none.

    There is none without a strict peak: on level ground, or beside a higher token that was not allowed to win.
    """
    if size < 3:
        return torch.zeros(len(best), device=best.device)
    middle = position.clamp(1, size - 2)
    left, centre, right = (at(best + (middle - position + one) * step) for one in (-1, 0, 1))
    curvature = left - 2 * centre + right
    is_peak = curvature < -1e-9
    vertex = (left - right) / (2 * torch.where(is_peak, curvature, torch.ones_like(curvature)))
    fitted = is_peak if border == "extrapolate" else is_peak & (middle == position)
    offset = (vertex + middle - position).clamp(-0.5, 0.5)
    return torch.where(fitted, offset, torch.zeros_like(offset))


def _quadratic(
    at: SimilarityAt, best: Int[torch.Tensor, "n"], hw: tuple[int, int], localise: Localise
) -> Float[torch.Tensor, "n 2"]:
    row, col = best // hw[1], best % hw[1]
    p = {
        (dy, dx): at((row + dy).clamp(0, hw[0] - 1) * hw[1] + (col + dx).clamp(0, hw[1] - 1))
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    dx, dy = (p[0, 1] - p[0, -1]) / 2, (p[1, 0] - p[-1, 0]) / 2
    dxx = p[0, 1] - 2 * p[0, 0] + p[0, -1]
    dyy = p[1, 0] - 2 * p[0, 0] + p[-1, 0]
    dxy = (p[1, 1] - p[1, -1] - p[-1, 1] + p[-1, -1]) / 4
    determinant = dxx * dyy - dxy**2
    is_peak = (determinant > 1e-12) & (dxx < 0)
    safe = torch.where(is_peak, determinant, torch.ones_like(determinant))
    offset = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], 1) / safe[:, None]
    joint = is_peak & _inside(row, col, hw) & (offset.abs() <= 1).all(1)
    apart = _parabola(at, best, hw, localise)
    return torch.where(joint[:, None], _token(at, best, hw, localise) + offset, apart)


def _inside(row: Int[torch.Tensor, "n"], col: Int[torch.Tensor, "n"], hw: tuple[int, int]) -> Bool[torch.Tensor, "n"]:
    return (col > 0) & (col < hw[1] - 1) & (row > 0) & (row < hw[0] - 1)


def _window(
    at: SimilarityAt, best: Int[torch.Tensor, "n"], hw: tuple[int, int], localise: Localise
) -> Float[torch.Tensor, "n 2"]:
    """Return the mean token around the best one, weighted by softmax(cosine / temperature).

    Near a border the window shrinks on both sides alike, so that a clipped window pulls nothing inwards.
    """
    row, col = (best // hw[1])[:, None], (best % hw[1])[:, None]
    reach = localise.window // 2
    steps = torch.arange(-reach, reach + 1, device=best.device)
    dy, dx = (one.reshape(-1)[None] for one in torch.meshgrid(steps, steps, indexing="ij"))
    outside = (dy.abs() > torch.minimum(row, hw[0] - 1 - row)) | (dx.abs() > torch.minimum(col, hw[1] - 1 - col))
    index = (row + dy).clamp(0, hw[0] - 1) * hw[1] + (col + dx).clamp(0, hw[1] - 1)
    near = torch.stack([at(one) for one in index.T], 1)
    weight = (near / localise.temperature).masked_fill(outside, -torch.inf).softmax(1)
    return torch.cat([col + (weight * dx).sum(1, keepdim=True), row + (weight * dy).sum(1, keepdim=True)], 1)


FITS = {"token": _token, "parabola": _parabola, "quadratic": _quadratic, "window": _window}

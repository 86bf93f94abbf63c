"""Heads that are solved, not trained: what was tried beside the Wiener filter."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from _method import Repetition
from _search import FIXED, RECIPE_FIXED, Blend, Candidate, Space, linear
from scipy.linalg import block_diag, eigh
from torch import nn

from equiview.finetune.closed_form import picture_statistics, whitening_matrix, wiener_matrix
from equiview.finetune.head_pairs import TrainingPair
from equiview.matching.match import match
from equiview.models.heads import LinearHead
from equiview.sampling import descriptors, sample

SOLVED = "solved"
FIXED_FAMILY = "nothing learned"
BLOCKS = {
    "12": (12,),
    "2,6,10": (2, 6, 10),
    "6,8,10": (6, 8, 10),
    "8,10,12": (8, 10, 12),
    "all even": (2, 4, 6, 8, 10, 12),
}


@dataclass(frozen=True)
class Sides:
    """Corresponding features a and b, one row each, and what they say: float64."""

    a: np.ndarray
    b: np.ndarray

    @property
    def scatter(self) -> np.ndarray:
        return (self.a - self.b).T @ (self.a - self.b) / (2 * len(self.a))

    @property
    def cross(self) -> np.ndarray:
        product = self.a.T @ self.b / len(self.a)
        return (product + product.T) / 2

    @property
    def total(self) -> np.ndarray:
        return (self.a.T @ self.a + self.b.T @ self.b) / (2 * len(self.a))


def sides(pairs: Sequence[TrainingPair]) -> Sides:
    a = torch.cat([sample(pair.source, pair.xy0) for pair in pairs])
    b = torch.cat([sample(pair.target, pair.xy1) for pair in pairs])
    return Sides(a.double().numpy(), b.double().numpy())


def ridge(matrix: np.ndarray, share: float) -> np.ndarray:
    """Return the matrix with a share of its mean diagonal added."""
    return matrix + share * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def ridge_alignment(own: Sides, share: float) -> np.ndarray:
    """Return W that predicts the other view's feature from this one's, by ridge regression."""
    return np.linalg.solve(ridge(own.total, share), own.cross).T


def projection(own: Sides, keep: int, share: float, within: bool) -> np.ndarray:
    """Return the leading directions of what views agree on, over the scatter (LDA) or over the total (CCA)."""
    values, vectors = eigh(own.cross, ridge(own.scatter if within else own.total, share))
    gains = np.ones(keep) if within else np.sqrt(values[::-1][:keep].clip(0))
    return gains[:, None] * vectors[:, ::-1][:, :keep].T


class Kernel(nn.Module):
    """Nystroem features of a Gaussian kernel on unit features, and a linear map of them."""

    def __init__(self, landmarks: torch.Tensor, gamma: float) -> None:
        super().__init__()
        self.landmarks, self.gamma = nn.functional.normalize(landmarks, dim=1), gamma
        values, vectors = torch.linalg.eigh(self.kernel(self.landmarks).double())
        self.root = ((vectors / values.clamp(min=1e-4).sqrt()) @ vectors.T).float()
        self.matrix = torch.eye(len(landmarks))

    def kernel(self, unit: torch.Tensor) -> torch.Tensor:
        return (self.gamma * (unit @ self.landmarks.T - 1)).exp()

    def features(self, rows: torch.Tensor) -> torch.Tensor:
        return self.kernel(nn.functional.normalize(rows, dim=1)) @ self.root

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        b, _, h, w = maps.shape
        rows = self.features(maps.permute(0, 2, 3, 1).flatten(0, 2)) @ self.matrix.T
        return rows.reshape(b, h, w, -1).permute(0, 3, 1, 2)


class Solved:
    """The candidates of this family."""

    def __init__(self, space: Space) -> None:
        self.space, self.dim = space, space.features.backbone.info.dim

    def sides(self, repetition: Repetition, **on) -> Sides:
        return sides([p for o in repetition.objects for p in self.space.pairs(o, repetition.seed, **on)])

    def natural(self, seed: int, **on) -> np.ndarray:
        return picture_statistics(self.space.ordinary(seed, **on), seed=seed).covariance

    def wiener(self, c: float, **on):
        return lambda r: linear(wiener_matrix(self.natural(r.seed, **on), self.sides(r, **on).scatter, c))

    def per_block(self, r: Repetition):
        natural, scatter = self.natural(r.seed), self.sides(r).scatter
        cuts = [slice(n * self.dim, (n + 1) * self.dim) for n in range(4)]
        return linear(block_diag(*(wiener_matrix(natural[cut, cut], scatter[cut, cut], 8) for cut in cuts)))

    def of_objects(self, r: Repetition):
        own = self.sides(r)
        return linear(wiener_matrix(own.total, own.scatter, 8))

    def whitening(self, shrinkage: float):
        return lambda r: linear(whitening_matrix(self.natural(r.seed), self.sides(r).scatter, shrinkage))

    def projected(self, keep: int, within: bool):
        def make(r: Repetition):
            matrix = torch.from_numpy(projection(self.sides(r), keep, 0.1, within)).float()
            head = LinearHead(matrix, torch.zeros(matrix.shape[1]))
            return lambda strength: Blend(head, strength)

        return make

    def kernel(self, gamma: float):
        def make(r: Repetition):
            tokens = torch.cat([m.tokens.flatten(1).T for m in self.space.ordinary(r.seed)])
            order = torch.from_numpy(np.random.default_rng(r.seed).permutation(len(tokens)))
            head, own = Kernel(tokens[order[:768]], gamma), self.sides(r)
            a, b = (head.features(torch.from_numpy(side).float()).double().numpy() for side in (own.a, own.b))
            drawn = head.features(tokens[order[768:12768]]).double().numpy()
            head.matrix = torch.from_numpy(wiener_matrix(np.cov(drawn.T), Sides(a, b).scatter, 8)).float()
            return lambda strength: Blend(head, strength)

        return make

    def left_out(self, r: Repetition):
        """Choose c and strength by what solves the training object's own left-out views best."""
        pairs, natural = self.space.pairs(r.objects[0], r.seed), self.natural(r.seed)
        views = list({id(pair.target): pair.target for pair in pairs}.values())
        found: dict[tuple[float, float], list[float]] = {}
        for view in views[::3]:
            scatter = sides([p for p in pairs if view is not p.source and view is not p.target]).scatter
            for c in (2.0, 8.0, 32.0):
                for strength in (0.25, 0.5, 0.75, 1.0):
                    head = linear(wiener_matrix(natural, scatter, c))(strength)
                    found.setdefault((c, strength), []).append(hits(head, [p for p in pairs if p.target is view]))
        c, strength = max(found, key=lambda key: np.mean(found[key]))
        print(f"left-out views of {r.name}: c {c:g}, strength {strength:g}", flush=True)
        chosen = linear(wiener_matrix(natural, sides(pairs).scatter, c))
        return lambda _: chosen(strength)

    def candidates(self) -> Iterator[Candidate]:
        def one(name: str, make: Callable, **about) -> Candidate:
            return Candidate(name, SOLVED, make, **about)

        for c in (2.0, 8.0, 32.0):
            yield one(f"Wiener, c {c:g}", self.wiener(c))
        yield one("Wiener, block by block", self.per_block)
        yield one("Wiener, S_n of the object", self.of_objects)
        yield one("Wiener, c and strength by left-out views", self.left_out, strengths=(1.0,))
        for shrinkage in (0.1, 1.0):
            yield one(f"whitening, shrinkage {shrinkage:g}", self.whitening(shrinkage))
        yield one("LDA, 128 directions", self.projected(128, True))
        yield one("CCA, 256 directions", self.projected(256, False))
        for share in (0.1, 1.0):
            yield one(f"ridge alignment, {share:g}", lambda r, s=share: linear(ridge_alignment(self.sides(r), s)))
        yield one("Gaussian kernel, Wiener", self.kernel(2.0))
        for fixed in ("centered_average", "centre + whiten"):
            yield one(f"Wiener, c 8, on {fixed.replace('_', ' ')}", self.wiener(8.0, fixed=fixed), fixed=fixed)


def fixed_candidates() -> Iterator[Candidate]:
    """Yield features that nothing is learned on: blocks, neighbourhoods, centring and whitening."""
    for fixed in FIXED:
        if fixed != RECIPE_FIXED:
            name = f"fixed: {'blocks as they are' if fixed == 'none' else fixed.replace('_', ' ')}"
            yield Candidate(name, FIXED_FAMILY, nothing, fixed=fixed, strengths=(0.0,), once=True)
    for label, blocks in BLOCKS.items():
        yield Candidate(f"fixed: blocks {label}", FIXED_FAMILY, nothing, blocks=blocks, strengths=(0.0,), once=True)


def nothing(_: Repetition):
    return lambda strength: None


@torch.no_grad()
def hits(head: nn.Module, pairs: Sequence[TrainingPair]) -> float:
    """Return the share of points found within 5 % of the picture."""
    right = []
    for pair in pairs:
        source, target = (m.replace_tokens(head(m.tokens[None])[0]) for m in (pair.source, pair.target))
        found = match(descriptors(source, pair.xy0), target).xy1
        right.append(float((torch.linalg.norm(found - pair.xy1, dim=1) < 0.05 * max(target.image_hw)).float().mean()))
    return float(np.mean(right))

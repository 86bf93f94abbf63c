"""What goes into a tracker and what comes out: query points, settings, tracks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from ...errors import bad_input
from ...limits import MAX_WINDOW, require_at_most
from ...models.extractor import MapSource, Picture
from ...types import FeatureMap
from ..localise import Localise

Localisation = Literal["quadratic", "parabola", "window", "token"]
LOCALISATIONS = get_args(Localisation)


@dataclass(frozen=True)
class Queries:
    """Points to follow.

    Attributes:
        xy: Where each point is in its own frame, pixels.
        frame: The frame each point is given in, from 0.
    """

    xy: Float[np.ndarray, "n 2"]
    frame: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.xy)

    def check(self, hw: tuple[int, int], n_frames: int) -> None:
        """Raise EquiviewError when there is no point, or one is outside its frame or in a frame there is not."""
        if len(self) == 0:
            raise bad_input("query points", "at least one", "none", "Give points as x,y or x,y,frame.")
        inside = ((self.xy >= 0) & (self.xy <= (hw[1], hw[0]))).all(1)
        here = (self.frame >= 0) & (self.frame < n_frames)
        for ok, what in ((here, f"a frame from 0 to {n_frames - 1}"), (inside, f"inside {hw[1]}x{hw[0]} pixels")):
            if not ok.all():
                number = int((~ok).argmax())
                x, y = (float(value) for value in self.xy[number])
                found = f"{x:g},{y:g} in frame {int(self.frame[number])}"
                raise bad_input(f"query point {number}", what, found, "Points are x,y from the upper left corner.")


@dataclass(frozen=True)
class TrackConfig:
    """How points are followed.

    Attributes:
        localisation: Between tokens by the peak of a `quadratic` fitted to 3x3 similarities, a `parabola` on each
            axis, or a soft-argmax in a `window`; or the `token`'s centre.
        window: Tokens on each side of the best one in the soft-argmax.
        temperature: Of that soft-argmax, in units of cosine.
        search_px: Only places this near the last position seen may win; None is the whole frame.
        cycle_tokens: A match is consistent when it leads back to the query within this many tokens.
        smoothing: Frames of a running median over the visible part of each track, odd; 1 is none.
    """

    localisation: Localisation = "quadratic"
    window: int = 1
    temperature: float = 0.05
    search_px: float | None = None
    cycle_tokens: float = 3.0
    smoothing: int = 1

    @property
    def localise(self) -> Localise:
        """How the best token becomes a place; at the border of the map outwards too, or points would drift inwards."""
        return Localise(self.localisation, 2 * self.window + 1, self.temperature, border="extrapolate")

    def __post_init__(self) -> None:
        if self.localisation not in LOCALISATIONS:
            raise bad_input("localisation", " or ".join(LOCALISATIONS), repr(self.localisation), "Check the spelling.")
        if self.smoothing < 1 or self.smoothing % 2 == 0:
            raise bad_input("smoothing", "an odd number of frames", str(self.smoothing), "1 is no smoothing.")
        require_at_most("smoothing", self.smoothing, MAX_WINDOW)
        positive = {"window": self.window, "temperature": self.temperature, "cycle_tokens": self.cycle_tokens}
        positive |= {} if self.search_px is None else {"search_px": self.search_px}
        for name, value in positive.items():
            if not value > 0:
                raise bad_input(name, "a positive number", str(value), "Leave it out for the default.")


@dataclass(frozen=True)
class Tracks:
    """Prediction: where each query point is in each frame.

    Attributes:
        xy: Pixels; a position is given for hidden points too.
        visible: True where the point is believed to be seen.
        score: Cosine (-1 to 1) of the query's feature and the feature at the predicted position.
        cycle_px: Distance between the query and where the prediction leads back to in the query's frame, pixels.
    """

    xy: Float[np.ndarray, "n t 2"]
    visible: Bool[np.ndarray, "n t"]
    score: Float[np.ndarray, "n t"]
    cycle_px: Float[np.ndarray, "n t"]


class LazyMaps(Sequence[FeatureMap]):
    """The feature maps of a clip, made when asked for and never kept.

    Args:
        source: Where features come from.
        frames: Pictures, one size, read when indexed.
        batch_size: Pictures at once while going through all of them.
    """

    def __init__(self, source: MapSource, frames: Sequence[Picture], batch_size: int = 4) -> None:
        self.source = source
        self.frames = frames
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> FeatureMap:  # type: ignore[override]
        return next(iter(self.source.maps(iter([self.frames[index]]))))

    def __iter__(self) -> Iterator[FeatureMap]:
        pictures = (self.frames[index] for index in range(len(self.frames)))
        yield from self.source.maps(pictures, batch_size=self.batch_size)

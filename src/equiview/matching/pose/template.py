"""One-shot object pose: a template from a few posed references, and a query located against it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from ...errors import bad_input
from ...models.extractor import MapSource
from ...types import FeatureMap, ImageSource
from .locating import Attempt, LocateConfig, attempt_pose
from .references import (
    Observations,
    Reference,
    ReferenceMaps,
    ViewPoints,
    has_points,
    inside_box,
    known_points,
    observed_points,
    picture_of,
    unit_map,
)
from .solve import PoseEstimate
from .triangulated import TriangulationConfig, triangulated_points


@dataclass(frozen=True)
class TemplateConfig:
    """How a template is made.

    Attributes:
        triangulation: Used when the references bring no 3D points of their own.
        box_margin: A given 3D box is grown by this share of its sides before points outside are dropped.
        max_points: More are thinned by a seeded sample.
        cache_bytes: Memory that feature maps of references may take while points are triangulated.
        seed: Of the sample.
    """

    triangulation: TriangulationConfig = field(default_factory=TriangulationConfig)
    box_margin: float = 0.1
    max_points: int = 120_000
    cache_bytes: int = 512 * 2**20
    seed: int = 0


@dataclass(frozen=True)
class Template:
    """Descriptors with 3D points: all that is kept of an object.

    Attributes:
        source: What the descriptors come from, and what queries are read with.
        descriptors: Of unit length. One point may have several, one a reference that shows it.
        points_in_world: The points.
        view: The reference each comes from.
    """

    source: MapSource
    descriptors: Float[torch.Tensor, "n c"]
    points_in_world: Float[np.ndarray, "n 3"]
    view: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.points_in_world)

    @classmethod
    def from_views(
        cls,
        source: MapSource,
        references: Sequence[Reference],
        *,
        observations: Sequence[Observations] | None = None,
        box: Float[np.ndarray, "2 3"] | None = None,
        config: TemplateConfig | None = None,
    ) -> "Template":
        """Make a template.

        The 3D points come from, in this order: `observations`; the references themselves, where they are renders
        (`View`) or have depth; else from the posed pictures alone, by triangulation (two references at least).

        Args:
            source: An `Extractor` (or the oracle, or noise).
            references: Renders or posed images; masks, where there are any, are respected.
            observations: For each reference its pixels and the world points they show (from structure from motion).
            box: Lowest and highest corner of the object in world; points outside are dropped.
            config: The settings.

        Raises:
            EquiviewError: No references, an image that cannot be read, or no 3D point was found.
        """
        config, references = config or TemplateConfig(), list(references)
        check_references(references, observations)
        box = None if box is None else _checked_box(box)
        if observations is None and not has_points(references[0]):
            maps = ReferenceMaps(source, references, config.cache_bytes)
            margin = config.box_margin
            settings = config.triangulation
            parts = [triangulated_points(i, references, maps, settings, box, margin) for i in range(len(references))]
        else:
            parts = [
                _given(source, reference, None if observations is None else observations[i], box, config)
                for i, reference in enumerate(references)
            ]
        return _joined(source, references, parts, config)

    def locate(
        self,
        image: Reference | ImageSource,
        intrinsics: Float[np.ndarray, "3 3"],
        *,
        config: LocateConfig | None = None,
    ) -> PoseEstimate | None:
        """Find the camera of a picture.

        Args:
            image: 8-bit RGB, a path, a posed image or a view (whose camera is not looked at).
            intrinsics: Of the picture, corner origin.
            config: The settings.

        Returns:
            None when the object was not found: fewer than 4 matches, or too few that agree.

        Raises:
            EquiviewError: The intrinsics are no camera matrix, or the image cannot be read.
        """
        return self.attempt(image, intrinsics, config=config).estimate

    def attempt(
        self,
        image: Reference | ImageSource,
        intrinsics: Float[np.ndarray, "3 3"],
        *,
        config: LocateConfig | None = None,
    ) -> Attempt:
        """Do what `locate` does and say, where there is no pose, why."""

        def map_at(roll: int) -> FeatureMap:
            return unit_map(self.source, picture_of(image, roll), getattr(image, "name", "") or "query")

        known = (self.descriptors, self.points_in_world)
        return attempt_pose(map_at, known, intrinsics, config or LocateConfig())


def check_references(references: Sequence[Reference], observations: Sequence[Observations] | None) -> None:
    """Raise EquiviewError for references no template can be made from."""
    if not references:
        raise bad_input("references", "at least one posed picture", "none", "Give pictures with known cameras.")
    if observations is not None and len(observations) != len(references):
        found = f"{len(observations)} for {len(references)} references"
        raise bad_input("observations", "one pair (pixels, points) a reference", found, "Give empty arrays for none.")
    brings = {has_points(reference) for reference in references}
    if observations is None and len(brings) == 2:
        raise bad_input("references", "depth in all or in none", "some with depth", "Drop those without, or the depth.")
    if observations is None and brings == {False} and len(references) < 2:
        fix = "Add a second view, or give depth or observations."
        raise bad_input("references", "two posed pictures or more to triangulate from", "one", fix)


def _checked_box(box: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    corners = np.asarray(box, np.float64)
    if corners.shape != (2, 3) or not (corners[0] < corners[1]).all():
        raise bad_input("box", "lowest and highest corner [2, 3]", f"{corners.tolist()}", "Swap or complete them.")
    return corners


def _given(
    source: MapSource,
    reference: Reference,
    observations: Observations | None,
    box: Float[np.ndarray, "2 3"] | None,
    config: TemplateConfig,
) -> ViewPoints:
    """Return the points a reference brings or is given, those inside the box."""
    fmap = unit_map(source, picture_of(reference), reference.name)
    part = known_points(reference, fmap) if observations is None else observed_points(observations, fmap)
    keep = inside_box(part.points_in_world, box, config.box_margin)
    return replace(
        part,
        descriptors=part.descriptors[torch.from_numpy(keep).to(part.descriptors.device)],
        points_in_world=part.points_in_world[keep],
    )


def _joined(
    source: MapSource, references: Sequence[Reference], parts: Sequence[ViewPoints], config: TemplateConfig
) -> Template:
    view = np.repeat(np.arange(len(parts)), [len(part.points_in_world) for part in parts])
    if not len(view):
        fix = "Check the cameras, the mask and the box; nearer references help triangulation."
        raise bad_input("template", "3D points on the object", f"none from {len(references)} references", fix)
    points = np.concatenate([part.points_in_world for part in parts])
    descriptors = torch.cat([part.descriptors for part in parts])
    if len(view) > config.max_points:
        kept = np.sort(np.random.default_rng(config.seed).choice(len(view), config.max_points, replace=False))
        descriptors = descriptors[torch.from_numpy(kept).to(descriptors.device)]
        points, view = points[kept], view[kept]
    return Template(source, descriptors, points, view)

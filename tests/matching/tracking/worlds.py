"""Clips with exact tracks and features with a known answer."""

import numpy as np
import torch

from equiview.geometry import project
from equiview.types import Clip, FeatureMap
from worlds import camera_at, sphere_view

RADIUS = 0.5


def sphere_clip(frames=8, turn_deg=100.0, hw=(256, 256), points=40, seed=0) -> Clip:
    """A camera goes round a sphere; frames are views (for the oracle). Points near the edge are not annotated."""
    angles = np.deg2rad(np.linspace(0, turn_deg, frames))
    cameras = [camera_at((2 * np.cos(a), 2 * np.sin(a), 0.3), hw, focal_px=1.1 * hw[0]) for a in angles]
    views = [sphere_view(camera, RADIUS) for camera in cameras]
    rows, cols = np.nonzero(views[0].mask)
    rng = np.random.default_rng(seed)
    candidates = views[0].points_in_world[rows, cols].astype(float)
    facing = cosines(candidates, cameras[0])
    chosen = rng.choice(np.flatnonzero(facing > 0.4), points, replace=False)
    surface = candidates[chosen]
    xy = np.stack([project(camera, surface)[0] for camera in cameras], 1)
    facing = np.stack([cosines(surface, camera) for camera in cameras], 1)
    return Clip("sphere", views, hw, xy, facing > 0, np.abs(facing) > 0.35)


def cosines(points, camera):
    """Cosine of the surface normal and the direction to the camera."""
    towards = camera.center_in_world - points
    return (towards * points).sum(-1) / np.linalg.norm(towards, axis=-1) / np.linalg.norm(points, axis=-1)


class Field:
    """A smooth random feature at every place of an endless plane."""

    def __init__(self, dim=64, wavelength_px=60.0, seed=0):
        rng = np.random.default_rng(seed)
        self.wave = torch.from_numpy(rng.normal(size=(dim, 2)) * 2 * np.pi / wavelength_px).float()
        self.phase = torch.from_numpy(rng.uniform(0, 2 * np.pi, dim)).float()

    def map(self, shift_xy=(0.0, 0.0), hw=(140, 168), stride=7.0, offset=7.0) -> FeatureMap:
        """The picture's content moved by `shift_xy`."""
        rows, cols = int((hw[0] - offset) // stride), int((hw[1] - offset) // stride)
        ys, xs = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
        place = torch.stack([xs, ys], -1) * stride + offset - torch.tensor([float(s) for s in shift_xy])
        tokens = torch.cos(place @ self.wave.T + self.phase).permute(2, 0, 1)
        return FeatureMap(tokens, (stride, stride), (offset, offset), hw)

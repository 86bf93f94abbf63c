"""The sphere of `worlds` as captures of a real thing describe it: with depth or with tracks, in any world frame."""

import numpy as np

import worlds
from equiview.data.correspond import sample_surface, visible_in
from equiview.geometry import transform
from equiview.types import Camera, Capture, PosedImage, SparseTracks

# Another unit and another frame: real captures are neither centred nor of size 1.
SCALE, SHIFT = 37.0, np.array([5.0, -80.0, 12.0])


def sphere_views(n=6, hw=(64, 64)):
    return worlds.sphere_ring(n, hw)


def moved_camera(camera: Camera) -> Camera:
    """Return the camera in a world that is SCALE times as large and moved by SHIFT."""
    cam_from_world = camera.cam_from_world.copy()
    cam_from_world[:3, 3] = SCALE * camera.cam_from_world[:3, 3] - camera.cam_from_world[:3, :3] @ SHIFT
    return Camera(camera.intrinsics, cam_from_world, camera.hw)


def posed_images(views, *, depth: bool, masks: bool = True):
    images = []
    for view in views:
        z = transform(view.camera.cam_from_world, view.points_in_world.astype(np.float64))[..., 2] * SCALE
        images.append(
            PosedImage(
                view.rgb,
                moved_camera(view.camera),
                view.name,
                view.mask if masks else None,
                np.where(view.mask, z, 0.0) if depth else None,
            )
        )
    return images


def tracks_of_views(views, per_view=40, seed=0) -> SparseTracks:
    """Sample points in every view and note every view that sees them."""
    points, image, point, xy = [], [], [], []
    for number, view in enumerate(views):
        at = sample_surface(view, per_view, seed + number)
        cols, rows = at.astype(int).T
        own, normals = view.points_in_world[rows, cols].astype(float), view.normals_in_world[rows, cols]
        for other, target in enumerate(views):
            places, seen = visible_in(target, own, normals)
            which = np.nonzero(seen)[0]
            image += [other] * len(which)
            point += list(which + sum(map(len, points)))
            xy += list(places[which])
        points.append(own)
    return SparseTracks(np.concatenate(points) * SCALE + SHIFT, np.array(image), np.array(point), np.array(xy))


def depth_capture(n=6, hw=(64, 64), **kwargs) -> Capture:
    return Capture("depth", posed_images(sphere_views(n, hw), depth=True, **kwargs))


def track_capture(n=6, hw=(64, 64), **kwargs) -> Capture:
    views = sphere_views(n, hw)
    return Capture("sparse", posed_images(views, depth=False, **kwargs), tracks_of_views(views))

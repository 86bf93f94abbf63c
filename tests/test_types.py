"""Data items refuse what does not fit together."""

import dataclasses

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError, bad_input
from equiview.types import Camera, FeatureMap
from worlds import camera_at, sphere_view


def test_camera_center_is_where_it_was_put():
    assert np.allclose(camera_at((1.0, 2.0, 0.5)).center_in_world, (1.0, 2.0, 0.5))


@pytest.mark.parametrize("kind", ["nan", "scaled", "mirrored", "shape"])
def test_a_camera_that_is_none_is_refused(kind):
    camera = camera_at((2, 0, 0))
    pose = camera.cam_from_world.copy()
    if kind == "nan":
        pose[0, 3] = np.nan
    if kind == "scaled":
        pose[:3, :3] *= 1.1
    if kind == "mirrored":
        pose[0] *= -1
    if kind == "shape":
        pose = pose[:3]
    with pytest.raises(EquiviewError):
        Camera(camera.intrinsics, pose, camera.hw)


def test_maps_of_a_view_must_have_the_size_of_its_image():
    view = sphere_view(camera_at((2, 0, 0)))
    with pytest.raises(EquiviewError):
        dataclasses.replace(view, mask=view.mask[:-1])


def test_items_are_frozen():
    view = sphere_view(camera_at((2, 0, 0)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.name = "other"


def test_tokens_are_replaced_on_the_same_grid_only():
    fmap = FeatureMap(torch.zeros(3, 4, 5), (14.0, 14.0), (7.0, 7.0), (56, 70))
    assert fmap.hw == (4, 5)
    new = fmap.replace_tokens(torch.ones(8, 4, 5))
    assert (new.stride_xy, new.offset_xy, new.image_hw) == (fmap.stride_xy, fmap.offset_xy, fmap.image_hw)
    with pytest.raises(ValueError, match="grid"):
        fmap.replace_tokens(torch.zeros(3, 5, 4))


def test_the_message_of_an_error_has_all_four_parts():
    assert str(bad_input("--views", "2 or more", "1", "Raise it.")) == "--views: expected 2 or more, found 1. Raise it."

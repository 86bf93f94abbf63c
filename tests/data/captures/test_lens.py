"""Lens models: the inverse, and the same numbers as COLMAP's and OpenCV's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equiview.data.captures.colmap_files import MODELS
from equiview.data.captures.lens import KINDS, Lens, apply, distort, jacobian, one_to_one, undistort
from equiview.errors import EquiviewError

K = np.array([[300.0, 0, 205.5], [0, 310.0, 148.0], [0, 0, 1]])
HW = (300, 400)
# Names of COLMAP with coefficients as a real lens may have them.
REAL = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": (-0.1,),
    "RADIAL": (-0.1, 0.03),
    "OPENCV": (-0.1, 0.03, 0.002, -0.003),
    "FULL_OPENCV": (-0.1, 0.03, 0.002, -0.003, 0.01, 0.02, 0.01, 0.005),
    "OPENCV_FISHEYE": (0.05, -0.01, 0.003, -0.001),
    "SIMPLE_RADIAL_FISHEYE": (0.05,),
    "RADIAL_FISHEYE": (0.05, -0.01),
    "FOV": (0.9,),
    "THIN_PRISM_FISHEYE": (0.05, -0.01, 0.001, 0.002, 0.003, -0.001, 0.001, 0.002),
    "SIMPLE_DIVISION": (-0.1,),
    "DIVISION": (-0.1,),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
}
RAYS = np.random.default_rng(0).uniform(-0.6, 0.6, (200, 2))


def small(limit):
    return st.floats(-limit, limit, allow_subnormal=False)


COEFFICIENTS = {
    "perspective": st.tuples(*map(small, (0.15, 0.05, 0.005, 0.005, 0.02, 0.05, 0.02, 0.01))),
    "polynomial": st.tuples(*map(small, (0.15, 0.05, 0.005, 0.005, 0.02, 0.01))),
    "fisheye": st.tuples(*map(small, (0.1, 0.03, 0.01, 0.01))),
    "fov": st.tuples(st.floats(0.1, 1.2)),
    "division": st.tuples(small(0.2)),
    "thin_prism_fisheye": st.tuples(*map(small, (0.1, 0.03, 0.005, 0.005, 0.01, 0.01, 0.003, 0.003))),
}


def test_every_kind_is_tested():
    assert COEFFICIENTS.keys() == KINDS.keys() and REAL.keys() == MODELS.keys()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_undistort_is_the_inverse(kind, data):
    lens = Lens(K, HW, kind, data.draw(COEFFICIENTS[kind]))
    back = undistort(lens, distort(lens, RAYS))
    np.testing.assert_allclose(back, RAYS, atol=1e-9)
    np.testing.assert_allclose(distort(lens, back), distort(lens, RAYS), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_without_coefficients_the_axis_stays(kind):
    lens = Lens(K, HW, kind)
    np.testing.assert_allclose(distort(lens, np.zeros((1, 2))), np.zeros((1, 2)), atol=1e-12)
    assert lens.is_pinhole == (kind in ("perspective", "polynomial", "fov", "division"))


@pytest.mark.parametrize("model", REAL)
def test_same_as_colmap(model):
    pycolmap = pytest.importorskip("pycolmap")
    _, focals, count, kind = MODELS[model]
    camera = pycolmap.Camera.create_from_model_name(1, model, 300.0, HW[1], HW[0])
    k = K if focals == 2 else np.array([[300.0, 0, 205.5], [0, 300.0, 148.0], [0, 0, 1]])
    camera.params = [*(k[0, 0], k[1, 1])[:focals], k[0, 2], k[1, 2], *REAL[model]]
    assert count == len(REAL[model]) and int(camera.model.value) == MODELS[model][0]
    theirs = np.array([camera.img_from_cam(np.array([x, y, 1.0])) for x, y in RAYS]).reshape(-1, 2)
    lens = Lens(k, HW, kind, REAL[model])
    np.testing.assert_allclose(apply(k, distort(lens, RAYS)), theirs, atol=1e-9)


@pytest.mark.parametrize("model", ["OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE"])
def test_same_as_opencv(model):
    """Its integer pixels are centres, but points and intrinsics move together, so the numbers are the same."""
    cv2 = pytest.importorskip("cv2")
    points, zero = np.concatenate([RAYS, np.ones((len(RAYS), 1))], 1)[:, None], np.zeros(3)
    project = cv2.fisheye.projectPoints if model == "OPENCV_FISHEYE" else cv2.projectPoints
    theirs = project(points, zero, zero, K, np.array(REAL[model]))[0][:, 0]
    np.testing.assert_allclose(apply(K, distort(Lens(K, HW, MODELS[model][3], REAL[model]), RAYS)), theirs, atol=1e-6)


def test_polynomial_has_a_fourth_radial_term():
    """As nerfstudio writes it: 1 + k1 r2 + k2 r4 + k3 r6 + k4 r8."""
    lens = Lens(K, HW, "polynomial", (0.1, 0.2, 0, 0, 0.3, 0.4))
    factor = 1 + 0.1 * 0.25 + 0.2 * 0.25**2 + 0.3 * 0.25**3 + 0.4 * 0.25**4
    np.testing.assert_allclose(distort(lens, np.array([[0.3, 0.4]])), [[0.3 * factor, 0.4 * factor]])


def test_beyond_the_model_is_nan():
    """k1 = -0.3 turns back at r = 1.05: nothing is farther out than 0.70, and what folds back is not found."""
    lens = Lens(K, HW, "perspective", (-0.3,))
    assert np.isnan(undistort(lens, np.array([[0.8, 0.0]]))).all()
    np.testing.assert_allclose(undistort(lens, distort(lens, np.array([[0.9, 0.0]]))), [[0.9, 0.0]], atol=1e-9)
    assert one_to_one(lens, np.array([[0.9, 0.0], [1.2, 0.0]])).tolist() == [True, False]


def test_jacobian_of_a_pinhole_is_the_identity():
    np.testing.assert_allclose(jacobian(Lens(K, HW), RAYS), np.broadcast_to(np.eye(2), (200, 2, 2)), atol=1e-9)


def test_scaling_is_one_multiplication():
    lens = Lens(K, HW).scaled((150, 100))
    np.testing.assert_allclose(lens.intrinsics, [[75, 0, 51.375], [0, 155, 74], [0, 0, 1]])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("equirectangular",), "one of perspective"),
        (("fisheye", (1, 2, 3, 4, 5)), "at most 4 coefficients"),
        (("perspective", (float("nan"),)), "all finite"),
    ],
)
def test_bad_lenses(arguments, said):
    with pytest.raises(EquiviewError, match=said):
        Lens(K, HW, *arguments)
    with pytest.raises(EquiviewError, match="positive focal lengths"):
        Lens(np.diag([0.0, 1, 1]), HW)

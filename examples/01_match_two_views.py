"""Match points between two views of an object, and compare with the truth.

    python examples/01_match_two_views.py [BACKBONE]

BACKBONE is a hub id or a folder (facebook/dinov2-base). Without it the small one that comes with equiview is used, so
that the example runs without a download.
"""

import sys

import numpy as np
import torch

import equiview


def main(backbone: str) -> None:
    # An object is a mesh file, a folder of rendered views, or one made by the package. Every view knows the exact 3D
    # point behind each pixel.
    views = equiview.open_object("builtin:mug", n_views=6)
    view0 = views[0]
    # The view from nearest by; the angle between two views is what makes matching hard.
    view1 = min(views[1:], key=lambda v: np.linalg.norm(v.camera.center_in_world - view0.camera.center_in_world))

    # The truth: points drawn on the object in view 0, and where view 1 sees them (hidden ones are left out).
    xy0 = equiview.sample_surface(view0, 300, seed=0)
    truth = equiview.correspond(view0, view1, xy0)
    print(f"{len(truth)} of {len(xy0)} points are visible in both, {truth.angle_deg:.0f} degrees apart")

    # The prediction: the descriptor at each point, and the place in view 1 that is most like it.
    model = equiview.load(backbone, blocks=(8,))
    map0, map1 = model.maps([view0, view1])
    queries = equiview.descriptors(map0, torch.from_numpy(truth.xy0).float())
    matches = equiview.match(queries, map1)

    # Pixels are xy with the origin at the image corner, in the pixels of the original picture.
    error_px = np.linalg.norm(matches.xy1.numpy() - truth.xy1, axis=1)
    share = (error_px < 0.1 * min(view1.camera.hw)).mean()
    print(f"median error {np.median(error_px):.0f} px of {view1.camera.hw[1]}; {share:.0%} within a tenth of the image")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "equiview/tiny")

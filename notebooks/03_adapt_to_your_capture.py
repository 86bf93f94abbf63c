# %% [markdown]
# # Adapt to your capture
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/equiview/blob/main/notebooks/03_adapt_to_your_capture.ipynb)
#
# No mesh? A folder of photographs will do: COLMAP finds the cameras and points that several photographs show, and these teach the
# adapter. Half of the photographs train it, the other half test it. This notebook takes about a minute on two CPU cores.

# %%
# %pip install --quiet "equiview[colmap]"

# %% [markdown]
# ## The photographs
#
# So that nothing has to be downloaded, a painted box on a painted floor is "photographed" from part of a circle. **With photographs of
# your own, skip this cell** and put them into `photos/`: 20 to 60, each showing two thirds of the one before, the object at rest
# on something with texture.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.render import RenderConfig, render_view, ring
from equiview.render.mesh import Material, Part, merge_parts

SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)


def painted(corners: np.ndarray, seed: int) -> Part:
    """Return a square with a drawn picture on it."""
    texture = np.dstack([dead_leaves(seed, (512, 512)), np.full((512, 512), 255, np.uint8)])
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
    return Part(corners, np.array([[0, 1, 2], [0, 2, 3]]), Material(texture=texture), uv=uv)


floor = painted(np.column_stack([1.3 * SQUARE, np.full(4, -0.45)]), 0)
sides = [np.insert(0.45 * SQUARE, axis, side, axis=1) for axis in range(3) for side in (-0.45, 0.45)]
world = merge_parts([floor, *(painted(corners, 1 + i) for i, corners in enumerate(sides))], "box")

Path("photos").mkdir(exist_ok=True)
cameras = ring(360, 32.0, hw=(360, 480), radius=2.4)[:200:10]
photos = [render_view(world, camera, RenderConfig(light="world", ambient=0.6)).rgb for camera in cameras]
for index, photo in enumerate(photos):
    Image.fromarray(photo).save(f"photos/{index:02d}.png")
Image.fromarray(np.hstack(photos[::5]))

# %% [markdown]
# ## Cameras and points
#
# The last lines are a verdict; when the photographs do not suffice, they say what to photograph differently. A video works too
# (`equiview capture walk.mp4`), and poses you already have are kept (`--poses given`).

# %%
# !equiview capture photos --out captures/box --quiet

# %%
import equiview

capture = equiview.open_capture("captures/box")
print(len(capture.images), "cameras,", len(capture.tracks.points_in_world), "points")

# %% [markdown]
# ## Every second photograph trains, the others test
#
# The recipe for this is `own-object`: it learns more of the very scene it sees, at the price of other scenes. It takes up to ten
# minutes; `--budget 10` and the settings below make it short here.

# %%
# !equiview improve --backbone equiview/tiny --train-object captures/box@0::2 --test-objects captures/box@1::2 --views 10 --recipe own-object --budget 10 --set features.long_side=320 --out runs/box --quiet

# %% [markdown]
# The scores are of this capture alone: photographs it was not trained on, but the same scene. Points lie where SIFT found some,
# which is easier than a whole surface; compare them only with each other. *Nothing learned* has the adapter's blocks, averages and
# whitening without what was learned.
#
# Two of the photographs, matched with the adapter (`--check-px 8` would leave out what does not fit one rigid scene):

# %%
# !equiview match photos/01.png photos/05.png --backbone equiview/tiny --adapter runs/box --out runs/match --quiet
Image.open("runs/match/matches.png").resize((960, 360))

# %% [markdown]
# Next: [pose and tracking with an adapter](04_pose_and_track.ipynb).

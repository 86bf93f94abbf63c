# %% [markdown]
# # Pose and tracking with an adapter
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/equiview/blob/main/notebooks/04_pose_and_track.ipynb)
#
# Two things to do with better features: find the camera of a picture from a few posed references of an object, and follow its
# points through a clip. Both are rendered with exact truth. This notebook takes about a minute on two CPU cores.

# %%
# %pip install --quiet equiview

# %% [markdown]
# ## An adapter for the object
#
# Learned from eight views of it, in closed form. A 3x3 average, which the other recipes have, helps to find the right part of an
# object but loses fine positions, and a pose needs those; `head=centered` leaves it out. Your own object: a mesh file, or a capture,
# in place of `procedural:5`.

# %%
# !equiview finetune --backbone equiview/tiny --train-object procedural:5 --recipe wiener --set head=centered features.long_side=480 --views 8 --budget 10 --out runs/object --quiet

# %%
import equiview

models = {
    "last block": equiview.load("equiview/tiny", long_side=480),
    "adapter": equiview.load("equiview/tiny", adapter="runs/object", strength=1),
}

# %% [markdown]
# ## Pose from posed references
#
# Twelve references with known cameras make a template: descriptors with 3D points. The query is another picture, from another
# direction and distance. `locate` matches it with the template and solves for the camera; it returns `None` where it finds none.

# %%
import numpy as np
from PIL import Image

from equiview.data.synthetic.pose import PoseWorld, pose_scenes
from equiview.metrics.pose import rotation_error_deg

[scene] = pose_scenes([5], PoseWorld(references=12, queries=6, clutter=False))
for name, model in models.items():
    template = equiview.Template.from_views(model, scene.references)
    estimates = [template.locate(query.image, query.camera.intrinsics) for query in scene.queries]
    errors = [
        180.0 if found is None else rotation_error_deg(found.cam_from_world, query.camera.cam_from_world)
        for found, query in zip(estimates, scene.queries, strict=True)
    ]
    print(f"{name:16s} rotation errors, degrees:", " ".join(f"{error:5.1f}" for error in sorted(errors)))

# %% [markdown]
# The object's box as the poses found with the adapter place it (yellow), and where it is (white), in the first four queries:

# %%
from itertools import combinations, product

from PIL import ImageDraw

from equiview.geometry import project
from equiview.types import Camera

corners = np.array(list(product(*zip(scene.model_points.min(0), scene.model_points.max(0), strict=True))))
edges = [(i, j) for i, j in combinations(range(8), 2) if (np.abs(corners[i] - corners[j]) > 1e-9).sum() == 1]


def with_box(query, found):
    """Return the picture with the true box in white and the found one in yellow."""
    picture = Image.fromarray(query.image)
    poses = [(query.camera.cam_from_world, "white"), *([] if found is None else [(found.cam_from_world, "yellow")])]
    for cam_from_world, colour in poses:
        xy, _ = project(Camera(query.camera.intrinsics, cam_from_world, query.camera.hw), corners)
        for i, j in edges:
            ImageDraw.Draw(picture).line([*xy[i], *xy[j]], fill=colour, width=2)
    return np.asarray(picture)


Image.fromarray(np.hstack([with_box(*pair) for pair in zip(scene.queries[:4], estimates[:4], strict=True)]))

# %% [markdown]
# Six queries of one object say little: `equiview bench` scores more of them, before clutter and in other light, with intervals.
#
# ## Points through a clip
#
# The object turns, the background moves, and something passes in front.

# %%
from equiview.data.synthetic.clips import ClipWorld, rendered_clip
from equiview.draw.tracks import draw_tracks
from equiview.matching.tracking import Queries

clip = rendered_clip(5, ClipWorld(frames=16)).clip
queries = Queries(clip.xy[:, 0], np.zeros(len(clip.xy), int))
for name, model in models.items():
    tracks = equiview.track(equiview.LazyMaps(model, clip.frames), queries)
    error = np.linalg.norm(tracks.xy - clip.xy, axis=2)[clip.visible]
    print(f"{name:16s} visible points within 8 pixels of the truth: {(error < 8).mean():.0%}")

# %%
Image.fromarray(np.hstack([draw_tracks(clip.frames[i], tracks, i) for i in (0, 5, 10, 15)]))

# %% [markdown]
# A disc is a point that is seen, with its path behind it; a ring is one believed hidden. On your own video: `equiview track clip.mp4
# --points 320,240 --backbone facebook/dinov2-base --out runs/clip`.

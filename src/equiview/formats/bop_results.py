"""BOP's results: `scene_id,im_id,obj_id,score,R,t,time`, R row by row, t in millimetres, of model to camera.

The score is how many matches agree with the pose. The time is -1, which BOP reads as unknown: it asks for that of a
whole image, which no row here knows. Failed queries have no line, as BOP wants it. Source: bop.felk.cvut.cz,
"Challenge 2019-2024, results format"; `bop_toolkit_lib/inout.py`, `save_bop_results`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io import atomic_path
from ..records import PoseRow

HEADER = "scene_id,im_id,obj_id,score,R,t,time"


def write_results(path: Path, rows: Sequence[PoseRow], object_id: int) -> int:
    """Write the poses of located queries, in the order of scenes and images.

    Args:
        path: BOP wants METHOD_DATASET-SPLIT.csv.
        rows: Of a BOP scene: queries are called SCENE/IMAGE, world is the object in millimetres.
        object_id: BOP's number of the object.

    Returns:
        How many there are.

    Raises:
        EquiviewError: The disk refuses.
    """
    lines = []
    for row in rows:
        if "cam_from_world" not in row:
            continue
        scene, image = (int(part) for part in row["query"].split("/"))
        pose = np.asarray(row["cam_from_world"], np.float64)
        turn, shift = (" ".join(f"{value:.9g}" for value in part.ravel()) for part in (pose[:3, :3], pose[:3, 3]))
        score = row.get("n_inliers", 1)
        lines.append((scene, image, f"{scene},{image},{object_id},{score},{turn},{shift},-1"))
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([HEADER, *(line for *_, line in sorted(lines))]) + "\n")
    return len(lines)

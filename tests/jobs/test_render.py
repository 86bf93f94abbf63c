"""`equiview render --pictures`: the views as files for what reads pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

from bad_inputs import Run, ball_ply
from equiview.render.store import open_views


def test_pictures_and_masks_are_those_of_the_views(run: Run, tmp_path: Path) -> None:
    words = ("render", ball_ply(tmp_path / "ball.ply"), "--views", 2, "--size", 32, "--quiet")
    code, _, _ = run(*words, "--out", tmp_path / "plain")
    assert code == 0 and not (tmp_path / "plain" / "pictures").exists()
    code, _, _ = run(*words, "--pictures", "--out", tmp_path / "ball")
    assert code == 0
    views = list(open_views(tmp_path / "ball"))
    assert len(views) == 2 and views[0].mask.any() and not views[0].mask.all()
    for index, view in enumerate(views):
        picture, mask = (
            np.asarray(Image.open(tmp_path / "ball" / name / f"{index:04d}.png")) for name in ("pictures", "masks")
        )
        assert (picture == view.rgb).all()
        assert (mask == 255 * view.mask[..., None]).all()

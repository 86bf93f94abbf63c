"""Matching two pictures: the laws, the files, and what is said about bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bad_inputs import check_message, leftovers
from equiview.data.captures.photographs import read_mask
from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.draw.matches import match_picture, place_colours, spread_best
from equiview.errors import EquiviewError
from equiview.io import read_image
from equiview.jobs.match import MatchConfig, fits_one_geometry, match_files, match_pictures, read_points
from equiview.matching import nearest as matching
from equiview.matching.match import mutual_matches
from equiview.matching.transfer import transfer
from equiview.models.loading import load
from equiview.models.oracle import NoiseExtractor, PictureOracle
from worlds import sphere_ring


def leaves(hw=(128, 160), seed=0) -> np.ndarray:
    return dead_leaves(seed, hw)


@pytest.fixture(scope="module")
def tiny():
    return load("equiview/tiny", long_side=160)


def test_a_picture_matches_itself(tiny):
    rgb = leaves()
    found = match_pictures(tiny, (rgb, rgb), points=np.array([[40.0, 50.0], [100.5, 77.0]]))
    stride = max(tiny.geometry(rgb.shape[:2])[0])
    assert len(found) == np.prod(tiny.grid(rgb.shape[:2]))
    assert np.abs(found.xy1 - found.xy0).max() <= stride / 2
    assert np.allclose(found.score, 1, atol=1e-5)
    assert np.abs(found.points_xy1 - found.points_xy0).max() <= stride
    assert found.checked is None


def test_a_second_look_has_more_and_finer_matches_of_the_object():
    """A patterned square on black that moves by 44 px: a seventh of the picture."""
    pictures = [np.zeros((320, 320, 3), np.uint8) for _ in range(2)]
    pictures[0][100:220, 80:200] = pictures[1][116:236, 124:244] = leaves((120, 120))
    masks = (pictures[0].any(2), pictures[1].any(2))
    source, points = load("equiview/tiny", long_side=320), np.array([[120.0, 140.0], [150.0, 180.0]])
    once, twice = (
        match_pictures(source, (pictures[0], pictures[1]), MatchConfig(refine=refine), masks=masks, points=points)
        for refine in (False, True)
    )
    errors = [np.median(np.linalg.norm(found.xy1 - found.xy0 - [44, 16], axis=1)) for found in (once, twice)]
    assert len(twice) > 1.5 * len(once) and errors[1] < errors[0]
    assert np.abs(twice.points_xy1 - points - [44, 16]).max() <= np.abs(once.points_xy1 - points - [44, 16]).max()


def test_a_shift_by_one_stride_shifts_matches():
    """Features that depend on the content of each patch alone, so that the law is exact."""
    rgb = leaves((128, 144))
    source = PatchColours(16)
    found = match_pictures(source, (rgb[:, :128], rgb[:, 16:]))
    assert len(found) == 8 * 7
    assert np.abs(found.xy1 - found.xy0 - [-16, 0]).max() <= 8
    assert np.median(np.abs(found.xy1 - found.xy0 - [-16, 0])) < 2


class PatchColours(NoiseExtractor):
    """The pixels of each patch are its feature."""

    def __init__(self, patch: int) -> None:
        super().__init__(stride_px=patch)
        self.patch = patch

    def maps(self, views, **kwargs):
        views = list(views)
        for rgb, fmap in zip(views, super().maps(views), strict=True):
            rows, cols = fmap.hw
            patches = rgb.reshape(rows, self.patch, cols, self.patch, 3).transpose(1, 3, 4, 0, 2)
            tokens = torch.from_numpy(patches.reshape(-1, rows, cols).astype(np.float32))
            yield fmap.replace_tokens(tokens - 128)


def test_the_oracle_is_right():
    views = sphere_ring(8, (192, 192), focal_px=210.0)
    found = match_pictures(
        PictureOracle(views, stride_px=4), (views[0].rgb, views[1].rgb), masks=(views[0].mask, views[1].mask)
    )
    cols, rows = found.xy0.astype(int).T
    points = views[0].points_in_world[rows, cols]
    cols, rows = found.xy1.astype(int).T
    there = views[1].points_in_world[rows.clip(0, 191), cols.clip(0, 191)]
    distance = np.linalg.norm(points - there, axis=1)
    assert np.nanmedian(distance) < 0.02


@pytest.mark.parametrize("budget", [1, 1000, 10**7])
def test_matches_of_masked_tokens_are_those_of_the_matrix(budget, monkeypatch):
    monkeypatch.setattr(matching, "CHUNK_SIMILARITIES", budget)
    maps = list(NoiseExtractor(8, stride_px=8).maps([leaves((64, 80)), leaves((96, 56), 1)]))
    allowed = [
        torch.rand(m.hw[0] * m.hw[1], generator=torch.Generator().manual_seed(i)) > 0.4 for i, m in enumerate(maps)
    ]
    found = mutual_matches(*maps, *allowed)
    tokens = [torch.nn.functional.normalize(m.tokens.flatten(1).T, dim=1) for m in maps]
    similarity = tokens[0] @ tokens[1].T
    similarity = similarity.masked_fill(~(allowed[0][:, None] & allowed[1][None]), -9)
    pairs = [(i, int(similarity[i].argmax())) for i in range(len(similarity)) if allowed[0][i]]
    pairs = [(i, j) for i, j in pairs if int(similarity[:, j].argmax()) == i]
    assert len(found) == len(pairs) > 5
    assert torch.allclose(found.score, torch.stack([similarity[i, j] for i, j in pairs]), atol=1e-6)
    centers = [matching.token_centers(m) for m in maps]
    assert torch.equal(found.xy0, centers[0][[i for i, _ in pairs]])
    assert float((found.xy1 - centers[1][[j for _, j in pairs]]).abs().max()) <= 4
    nothing = mutual_matches(*maps, torch.zeros_like(allowed[0]))
    assert len(nothing) == 0 and nothing.xy1.shape == (0, 2)


def test_points_go_where_transfer_sends_them(tiny):
    pictures = leaves(), leaves((144, 112), 1)
    points = np.array([[20.0, 30.0], [150.0, 100.0]])
    found = match_pictures(tiny, pictures, points=points)
    plain = transfer(tiny, pictures[0], points, pictures[1])
    assert np.allclose(found.points_xy1, plain.xy1, atol=1e-3)
    assert np.allclose(found.points_score, plain.score, atol=1e-5)


def test_the_check_finds_what_is_rigid():
    rng = np.random.default_rng(0)
    views = sphere_ring(8, (192, 192), focal_px=210.0)
    points = rng.normal(size=(300, 3))
    points *= 0.5 / np.linalg.norm(points, axis=1, keepdims=True)
    from equiview.geometry import project

    xy0, xy1 = (project(view.camera, points)[0] for view in views[:2])
    wrong = rng.random(300) < 0.4
    xy1[wrong] = rng.uniform(0, 192, (wrong.sum(), 2))
    fits = fits_one_geometry(xy0, xy1, 1.0)
    assert fits[~wrong].mean() > 0.98 and fits[wrong].mean() < 0.15
    assert np.array_equal(fits, fits_one_geometry(xy0, xy1, 1.0))
    assert not fits_one_geometry(xy0[:9], xy1[:9], 1.0).any()


@pytest.mark.parametrize("n", [30, 100])
def test_random_matches_fit_no_geometry(n):
    """RANSAC always finds something that a dozen of many random matches fit: that is no rigid scene."""
    xy0, xy1 = np.random.default_rng(n).random((2, n, 2)) * 640
    assert not fits_one_geometry(xy0, xy1, 8.0).any()


def test_the_best_of_every_part_come_first():
    rng = np.random.default_rng(0)
    xy = np.r_[rng.uniform(0, 20, (90, 2)), rng.uniform(0, 100, (10, 2))]
    score = np.r_[rng.uniform(0.9, 1, 90), rng.uniform(0, 0.5, 10)]
    chosen = spread_best(xy, score, (100, 100), 16)
    assert len(chosen) == len(set(chosen)) == 16
    assert (chosen >= 90).sum() >= 5 and int(score.argmax()) in chosen
    assert sorted(spread_best(xy, score, (100, 100), 999)) == list(range(100))
    assert len(spread_best(xy[:0], score[:0], (100, 100), 5)) == 0


def test_colours_follow_the_place():
    xy = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100], [50, 50]])
    colours = place_colours(xy, (100, 100)).astype(int)
    assert len({tuple(c) for c in colours}) == 5
    near = place_colours(np.r_[xy, [[51.0, 50.0]]], (100, 100)).astype(int)
    assert np.abs(near[4] - near[5]).max() < 10
    assert place_colours(xy[:0], (100, 100)).shape == (0, 3)


def test_the_picture_shows_both_at_one_height():
    one, other = leaves((60, 40)), leaves((900, 1200), 1)
    drawn = match_picture(one, np.array([[20.0, 30.0]]), other, np.array([[600.0, 450.0]]))
    assert drawn.shape == (720, 480 + 8 + 960, 3)
    colour = place_colours(np.array([[20.0, 30.0]]), (60, 40))[0]
    for x in (240, 488 + 480):
        assert np.abs(drawn[360, x].astype(int) - colour).max() < 6
    nothing = match_picture(one, np.zeros((0, 2)), other, np.zeros((0, 2)))
    assert nothing.shape == drawn.shape


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name, seed in (("a", 0), ("b", 1)):
        Image.fromarray(leaves((96, 128), seed)).save(tmp_path / f"{name}.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def test_the_command_writes_what_it_says(run, pair, tmp_path):
    out = tmp_path / "out"
    call = ("match", *pair, "-b", "equiview/tiny", "--blocks", "4,8", "--long-side", 128, "--out", out, "--refine")
    code, text, _ = run(*call, "--points", "20,30", "90.5,60", "--check-px", 4, "--json")
    result = json.loads(text)
    assert code == 0 and result["wrote"] == [str(out / n) for n in ("matches.png", "matches.json", "points.png")]
    record = json.loads((out / "matches.json").read_text())
    n = len(record["score"])
    assert len(record["xy0"]) == len(record["xy1"]) == len(record["checked"]) == n > 0
    assert record["points"]["xy0"] == [[20, 30], [90.5, 60]] and len(record["points"]["xy1"]) == 2
    assert "corner" in record["pixels"] and record["protocol"]["features"]["blocks"] == [4, 8]
    assert record["protocol"]["refine"]
    assert read_image(out / "matches.png").shape == read_image(out / "points.png").shape
    # Without points their older picture would lie.
    code, text, _ = run(*call)
    assert code == 0 and "mutual matches" in text and not (out / "points.png").exists()
    assert leftovers(out) == []


def test_points_and_masks_from_files(run, pair, tmp_path):
    (tmp_path / "points.json").write_text('{"points": [[20, 30]]}')
    mask = np.zeros((96, 128), np.uint8)
    mask[:48] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").sum() == 48 * 128
    out = tmp_path / "out"
    call = ("match", *pair, "-b", "equiview/tiny", "--long-side", 128, "--out", out)
    code, text, _ = run(*call, "--points", tmp_path / "points.json", "--mask1", tmp_path / "mask.png")
    record = json.loads((out / "matches.json").read_text())
    assert code == 0 and "20,30 ->" in text
    # Half a token beyond the mask at most: the sub-token fit.
    assert max(y for _, y in record["xy1"]) < 48 + 8
    assert read_points(tmp_path / "points.json").tolist() == [[20, 30]]


def bad(case: str, pair: tuple[Path, Path], folder: Path) -> list[object]:
    """Return the arguments of a call that cannot work."""
    a, b = pair
    if case == "missing":
        a = folder / "nothing.png"
    elif case == "folder":
        a = folder
    elif case == "broken":
        b.write_bytes(b.read_bytes()[:200])
    elif case == "no picture":
        b.write_text("text")
    elif case == "small":
        Image.fromarray(leaves((96, 128))[:8, :8]).save(b)
    more = {
        "outside": ["--points", "500,20"],
        "no numbers": ["--points", "a,b"],
        "two files": ["--points", "x.json", "1,2"],
        "bad file": ["--points", folder / "bad.json"],
        "mask size": ["--mask0", folder / "small.png"],
        "black mask": ["--mask0", folder / "black.png"],
        "thin mask": ["--mask1", folder / "thin.png"],
        "check": ["--check-px", "-1"],
        "backbone": ["-b", folder / "nowhere"],
    }
    (folder / "bad.json").write_text('{"points": [[1, 2, 3]]}')
    thin = np.zeros((96, 128), np.uint8)
    Image.fromarray(thin).save(folder / "black.png")
    thin[0, 0] = 255
    Image.fromarray(thin).save(folder / "thin.png")
    Image.fromarray(thin[:50] + 1).save(folder / "small.png")
    return [a, b, "-b", "equiview/tiny", "--long-side", 128, "--out", folder / "out", *more.get(case, [])]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("missing", "nothing.png: expected an image file"),
        ("folder", "found a folder"),
        ("broken", "b.png: expected an image that opens"),
        ("no picture", "b.png: expected an image that opens"),
        ("small", "b.png: expected at least 16 pixels"),
        ("outside", "inside the picture of 128x96"),
        ("no numbers", "pixels as x,y"),
        ("two files", "pixels or one JSON file"),
        ("bad file", "bad.json: expected points"),
        ("mask size", "the size of the picture, 128x96"),
        ("black mask", "black.png: expected a mask"),
        ("thin mask", "at least one token"),
        ("check", "positive number of pixels"),
        ("backbone", "nowhere"),
    ],
)
def test_bad_input(run, pair, tmp_path, case, said):
    check_message(run("match", *bad(case, pair, tmp_path)), said)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_features_that_are_not_numbers(pair, tmp_path):
    class Broken(NoiseExtractor):
        def maps(self, views, **kwargs):
            for fmap in super().maps(views):
                yield fmap.replace_tokens(fmap.tokens * np.nan)

    with pytest.raises(EquiviewError, match="finite"):
        match_files(Broken(), pair, tmp_path / "out")
    with pytest.raises(EquiviewError, match="max_shown"):
        MatchConfig(max_shown=0)

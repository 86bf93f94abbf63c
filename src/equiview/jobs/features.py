"""The job behind `equiview features`: token features of many pictures as files, and PCA pictures of one basis.

OUT/index.json            what each file is and how to put a token back on pixels
OUT/tokens/NAME.safetensors   "tokens" [c, h, w], its geometry in the metadata
OUT/pca.safetensors       mean, basis, low, high of the colours
OUT/pca/NAME.png, OUT/pca.png  the colours, by picture and on one sheet
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from ..data.clips.frames import frame_paths
from ..draw.pca import PcaColours, fit_pca, unit_tokens
from ..draw.sheet import contact_sheet, pca_picture
from ..errors import bad_input
from ..formats.hloc import PictureFeatures, import_h5py, write_features_h5
from ..io import (
    atomic_path,
    file_name,
    file_sha256,
    image_hw,
    read_image,
    read_json,
    require_file,
    require_folder,
    write_image,
    write_json,
)
from ..models.adapters.folder import versions
from ..models.extractor import MapSource
from ..records import FeatureIndex, PictureEntry
from ..types import FeatureMap
from .engine import LOCAL, Engine, run_units
from .match_folder import picture_features
from .run_folder import Progress, claim_folder

FORMAT = "equiview features 1"
GEOMETRY = (
    "pixels are xy from the corner of the picture as stored in its file, (0.5, 0.5) the centre of the first; the token "
    "in row r and column c of tokens[:, r, c] is centred on x = offset_xy[0] + c * stride_xy[0], "
    "y = offset_xy[1] + r * stride_xy[1]"
)
DTYPES = {"float16": torch.float16, "float32": torch.float32}
# The basis is fitted on so many numbers (128 MB in double precision), the same share of every picture.
FIT_NUMBERS, MOST_PER_PICTURE = 16_000_000, 1024


@dataclass(frozen=True)
class FeatureFilesConfig:
    """How features are written.

    Attributes:
        dtype: Type the tokens are stored in, `float16` or `float32`.
        pca: Draw the colours.
    """

    dtype: str = "float16"
    pca: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise bad_input("dtype", " or ".join(DTYPES), repr(self.dtype), "Check the spelling.")


def find_pictures(sources: Sequence[Path]) -> dict[str, Path]:
    """Return the pictures of folders and files by the name that their features get: the stem, where that is unique.

    Pictures whose stems are equal get the whole file name, with the folder before it where that is equal, too.

    Raises:
        EquiviewError: Nothing there, no picture, one that does not open, or two that cannot be told apart.
    """
    paths: dict[Path, Path] = {}
    for source in map(Path, sources):
        for path in frame_paths(source) if source.is_dir() else [source]:
            image_hw(path)
            paths.setdefault(path.resolve(), path)
    if not paths:
        raise bad_input("pictures", "at least one", "none", "Give a folder of pictures, or picture files.")
    ways = (lambda p: p.stem, lambda p: p.name, lambda p: f"{p.parent.name}-{p.name}")
    names: dict[str, Path] = {}
    left = list(paths.values())
    for way in ways:
        given = [way(path) for path in left]
        # A name that is taken is not unique: `a.png.jpg` has the stem that `a.png` would get.
        free = [given.count(name) == 1 and name not in names for name in given]
        names |= {name: path for name, path, own in zip(given, left, free, strict=True) if own}
        left = [path for path, own in zip(left, free, strict=True) if not own]
    if left:
        raise bad_input("pictures", "names that differ", f"{left[0]} and {left[1]}", "Rename one of the folders.")
    order = {path: number for number, path in enumerate(paths.values())}
    # What cannot be printed cannot be written as UTF-8 either, which safetensors asks for.
    fit = {name if name.isprintable() else file_name(name): path for name, path in names.items()}
    return dict(sorted(fit.items(), key=lambda item: order[item[1]]))


def write_features(
    source: MapSource,
    pictures: Sequence[Path],
    out: Path,
    config: FeatureFilesConfig = FeatureFilesConfig(),
    progress: Progress | None = None,
    engine: Engine = LOCAL,
) -> FeatureIndex:
    """Write features of pictures into a folder; a run that was stopped goes on, more pictures may be added later.

    Args:
        source: From `equiview.load`, or an `Extractor`.
        pictures: Folders (their pictures, not those of folders within) and picture files.
        out: The folder. A finished picture is kept unless its file has changed.
        config: What is written.
        progress: Called with ("features", done, total) and ("pca", done, total).
        engine: Where features are computed; the colours are fitted to all of them, here.

    Returns:
        The content of index.json.

    Raises:
        EquiviewError: A picture that is missing or broken, features that are not finite (in the type that is stored),
            or a folder that holds features of another backbone.

    Memory: one feature map at a time, and the sample of tokens for the colours.
    """
    out = Path(out)
    names = find_pictures(pictures)
    report = progress or (lambda stage, done, total: None)
    claim_folder(out, {"format": FORMAT, "features": source.describe(), "dtype": config.dtype})
    found: dict[int, PictureEntry] = {}
    report("features", 0, len(names))
    for number, entry in run_units(partial(_write_picture, source, out, config), list(names.items()), engine):
        found[number] = entry
        report("features", len(found), len(names))
    entries = [found[number] for number in range(len(names))]
    index: FeatureIndex = {
        "format": FORMAT,
        "geometry": GEOMETRY,
        "pictures": entries,
        "protocol": {"features": source.describe(), "dtype": config.dtype, "versions": versions()},
    }
    # Features are usable from here on, whatever happens to the pictures of them.
    write_json(out / "index.json", index)
    if config.pca:
        _draw(out, entries, report)
        index["pca"] = {"basis": "pca.safetensors", "pictures": "pca", "sheet": "pca.png"}
        write_json(out / "index.json", index)
    return index


def write_hloc_features(
    source: MapSource, pictures: Sequence[Path], out: Path, progress: Progress | None = None
) -> int:
    """Write OUT/feats.h5 as hloc's extractors do: token centres as key points, their descriptors. Return the count.

    Raises:
        EquiviewError: h5py is not installed, a picture is missing or broken, or two have one file name.
    """
    import_h5py()
    paths = list(find_pictures(pictures).values())
    names = [path.name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_input("pictures", "file names that differ", f"{twice[0]} twice", "hloc knows them by these names.")
    report = progress or (lambda stage, done, total: None)

    def found() -> Iterator[tuple[str, PictureFeatures]]:
        for number, path in enumerate(paths):
            report("features", number, len(paths))
            (fmap,) = source.maps([read_image(path)])
            yield path.name, picture_features(fmap)

    write_features_h5(Path(out) / "feats.h5", found())
    report("features", len(paths), len(paths))
    return len(paths)


def _write_picture(source: MapSource, out: Path, config: FeatureFilesConfig, picture: tuple[str, Path]) -> PictureEntry:
    """Write the tokens of a picture (name, file) unless they are there; return its line of the index."""
    name, path = picture
    file = out / "tokens" / f"{name}.safetensors"
    sha256 = file_sha256(path)
    if file.is_file():
        entry = _entry(file)
        if entry["sha256"] == sha256:
            return {**entry, "file": str(path)}
    (fmap,) = source.maps([read_image(path)])
    tokens = fmap.tokens.detach().cpu().to(DTYPES[config.dtype]).contiguous()
    if not bool(torch.isfinite(tokens).all()):
        fix = "Use --dtype float32, or check the adapter."
        raise bad_input(f"features of {path}", f"finite numbers in {config.dtype}", "NaN or infinity", fix)
    entry = {
        "name": name,
        "file": str(path),
        "sha256": sha256,
        "tokens": f"tokens/{file.name}",
        "channels_rows_columns": list(tokens.shape),
        "stride_xy": list(fmap.stride_xy),
        "offset_xy": list(fmap.offset_xy),
        "image_hw": list(fmap.image_hw),
    }
    with atomic_path(file) as temporary:
        save_file({"tokens": tokens}, temporary, {"equiview": json.dumps(entry)})
    return entry


def _entry(file: Path) -> PictureEntry:
    """Return the line of the index that a file of tokens carries with it."""
    fix = "Delete it and run the same command again."
    try:
        with safe_open(file, "pt") as opened:
            entry = json.loads((opened.metadata() or {}).get("equiview", "null"))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise bad_input(str(file), "tokens of a picture", f"a broken file ({error})", fix) from error
    if not isinstance(entry, dict) or "sha256" not in entry:
        raise bad_input(str(file), "tokens with their geometry", "a file without it", fix)
    return cast(PictureEntry, entry)


def read_features(folder: Path) -> Iterator[tuple[str, FeatureMap]]:
    """Yield what `write_features` wrote, in the order of its index: name and map (float32), one in memory at a time.

    Raises:
        EquiviewError: No finished folder of features, or a file in it is missing or broken.
    """
    folder = require_folder(folder, "a folder written by equiview features")
    index = read_json(require_file(folder / "index.json", "the index of a finished run of equiview features"))
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        found = repr(index.get("format")) if isinstance(index, dict) else type(index).__name__
        raise bad_input(str(folder / "index.json"), f"format {FORMAT!r}", found, "Write it again with this version.")
    return (_read_entry(folder, entry) for entry in index["pictures"])


def _read_entry(folder: Path, entry: PictureEntry) -> tuple[str, FeatureMap]:
    path = require_file(folder / entry["tokens"], "tokens of a picture")
    try:
        with safe_open(path, "pt") as opened:
            tokens = opened.get_tensor("tokens").float()
    except (SafetensorError, OSError) as error:
        fix = "Delete it and run the same command again."
        raise bad_input(str(path), "tokens of a picture", f"a broken file ({error})", fix) from error
    stride_x, stride_y = entry["stride_xy"]
    offset_x, offset_y = entry["offset_xy"]
    h, w = entry["image_hw"]
    return entry["name"], FeatureMap(tokens, (stride_x, stride_y), (offset_x, offset_y), (h, w))


def _draw(out: Path, entries: Sequence[PictureEntry], report: Progress) -> None:
    """Fit the colours and draw every picture in them."""
    colours = fit_pca(_sampled_tokens(out, entries, report))
    with atomic_path(out / "pca.safetensors") as temporary:
        names = ("mean", "basis", "low", "high")
        save_arrays({name: np.ascontiguousarray(getattr(colours, name)) for name in names}, temporary)
    for number, entry in enumerate(entries):
        name, fmap = _read_entry(out, entry)
        write_image(out / "pca" / f"{name}.png", pca_picture(colours, fmap))
        report("pca", len(entries) + number + 1, 2 * len(entries))
    write_image(
        out / "pca.png",
        contact_sheet([(e["name"], Path(e["file"]), out / "pca" / f"{e['name']}.png") for e in entries]),
    )


def _sampled_tokens(out: Path, entries: Sequence[PictureEntry], report: Progress) -> Float[np.ndarray, "n c"]:
    """Draw the same number of tokens from every picture (from some, evenly spread, when there are very many)."""
    room = max(3, FIT_NUMBERS // int(entries[0]["channels_rows_columns"][0]))
    chosen = np.unique(np.linspace(0, len(entries) - 1, min(len(entries), room)).round().astype(int))
    each = int(np.clip(room // len(chosen), 1, MOST_PER_PICTURE))
    parts = []
    for number in range(len(entries)):
        if number in chosen:
            tokens = unit_tokens(_read_entry(out, entries[number])[1])
            # Drawn from the number of tokens alone: the same picture twice gives the same sample.
            drawn = np.random.default_rng(len(tokens)).permutation(len(tokens))[:each]
            parts.append(tokens[np.sort(drawn)])
        report("pca", number + 1, 2 * len(entries))
    return np.concatenate(parts)


def read_colours(folder: Path) -> PcaColours:
    """Return the colours of a folder of features, to draw other pictures in them.

    Raises:
        EquiviewError: It has none, or the file is broken.
    """
    path = require_file(Path(folder) / "pca.safetensors", "the PCA colours of a folder of features")
    try:
        with safe_open(path, "np") as opened:
            return PcaColours(*(opened.get_tensor(name) for name in ("mean", "basis", "low", "high")))
    except (SafetensorError, OSError) as error:
        raise bad_input(str(path), "PCA colours", f"a broken file ({error})", "Run the same command again.") from error

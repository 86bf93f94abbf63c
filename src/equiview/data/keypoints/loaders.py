"""Every set of key-point pairs by a name a user can type: `pf-willow:FOLDER`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ...errors import bad_input
from ...types import KeypointPair
from .ap10k import load_ap10k
from .own_json import load_keypoint_json
from .pfpascal import load_pf_pascal
from .pfwillow import load_pf_willow
from .spair import load_spair
from .tss import load_tss

Loader = Callable[[Path], Sequence[KeypointPair]]

LOADERS: dict[str, Loader] = {
    "pf-willow": load_pf_willow,
    "pf-pascal": load_pf_pascal,
    "pf-pascal-same": partial(load_pf_pascal, views="same"),
    "spair": load_spair,
    "spair-val": partial(load_spair, split="val"),
    "ap10k": load_ap10k,
    "ap10k-cross-species": partial(load_ap10k, subset="cross-species"),
    "ap10k-cross-family": partial(load_ap10k, subset="cross-family"),
    "tss": load_tss,
    "json": load_keypoint_json,
}


def open_pairs(spec: str) -> tuple[str, Sequence[KeypointPair]]:
    """Open NAME:PATH.

    Returns:
        The name, and the pairs.

    Raises:
        EquiviewError: The name is unknown, or the data set cannot be read.
    """
    name, colon, path = spec.partition(":")
    if name not in LOADERS or not colon or not path:
        expected = f"NAME:PATH with a name of {', '.join(LOADERS)}"
        raise bad_input("--pairs", expected, repr(spec), "For example pf-willow:PF-dataset-WILLOW.")
    return name, LOADERS[name](Path(path))

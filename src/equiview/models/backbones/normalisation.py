"""The mean and standard deviation a folder says its model was trained with."""

import logging
from functools import cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ...errors import bad_input
from ...io import read_json
from ...schema import check, is_kind

log = logging.getLogger(__name__)

FILES = (("preprocessor_config.json", ()), ("processor_config.json", ("image_processor",)))


class Processor(TypedDict):
    """What is used of the settings of an image processor."""

    do_normalize: NotRequired[bool | None]
    image_mean: NotRequired[Any]
    image_std: NotRequired[Any]


def mean_std(name: str, folder: Path, family: str, usual: tuple[tuple, tuple]) -> tuple[tuple, tuple]:
    """Read the normalisation beside the weights; without it, the family's usual one, logged.

    Args:
        name: The backbone, for messages.
        folder: With `preprocessor_config.json` or `processor_config.json`, or neither.
        family: Its name, for messages.
        usual: Mean and standard deviation when the folder does not say.

    Raises:
        EquiviewError: The file says something that is no normalisation.
    """
    for file, keys in FILES:
        if not (folder / file).is_file():
            continue
        where = str(folder / file)
        values = read_json(folder / file)
        for key in keys:
            values = values.get(key, {}) if isinstance(values, dict) else values
        if not isinstance(values, dict):
            raise bad_input(where, "the settings of an image processor", type(values).__name__, "Download it again.")
        check(values, Processor, where, "Fix the file.")
        if values.get("do_normalize", True) is False:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        mean, std = values.get("image_mean"), values.get("image_std")
        if mean is not None and std is not None:
            if not (_three_numbers(mean) and _three_numbers(std) and min(std) > 0):
                expected = "image_mean and image_std of three numbers each, std above 0"
                raise bad_input(where, expected, f"{mean} and {std}", "Fix the file.")
            return tuple(map(float, mean)), tuple(map(float, std))
    _tell_usual(name, family, folder)
    return usual


def _three_numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(is_kind(value, float) for value in values)


@cache
def _tell_usual(name: str, family: str, folder: Path) -> None:
    """Log it once for each folder: a run loads its backbone several times."""
    log.info("%s: no preprocessor_config.json; mean and std are those usual for %s", name, family)

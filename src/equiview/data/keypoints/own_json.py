"""One's own pairs, as one JSON file.

Layout::

    {"pairs": [
      {"image0": "mug_a.jpg", "image1": "mug_b.jpg",          from the folder of the JSON file, or absolute
       "xy0": [[120.5, 80], [200, 91]],                       pixels; the first pixel's centre is 0.5, 0.5
       "xy1": [[98, 75.5], null],                             null: cannot be seen there
       "category": "mug",                                     optional; "all" if left out
       "box1_wh": [310, 280],                                 optional: the object's box in image1
       "name": "mug a to b"}                                  optional
    ]}
"""

from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import bad_input
from ...render.references import find_file
from ...schema import as_name, as_text, shown
from ...types import KeypointPair
from .pairs import as_points, both_visible, box_sides, read_record, require_pictures

REQUIRED = {"image0", "image1", "xy0", "xy1"}
OPTIONAL = {"category", "box1_wh", "name"}


def load_keypoint_json(path: Path) -> list[KeypointPair]:
    """List the pairs of a file.

    Raises:
        EquiviewError: The file or a picture is missing, or a pair is not as above.
    """
    pairs = read_record(path, ("pairs",), 'an object with "pairs"')["pairs"]
    if not isinstance(pairs, list) or not pairs:
        raise bad_input(f"{path}: pairs", "a list of at least one pair", shown(pairs), "See the documentation.")
    found = [_pair(record, number, Path(path)) for number, record in enumerate(pairs)]
    twice = [name for name, count in Counter(pair.name for pair in found).items() if count > 1]
    if twice:
        raise bad_input(f"{path}: name", "every name once", f"{twice[0]!r} twice", "Rename one, or leave names out.")
    return require_pictures(found)


def _pair(record: Any, number: int, path: Path) -> KeypointPair:
    where = f"{path}: pair {number}"
    keys = set(record) if isinstance(record, dict) else set()
    wrong = sorted((REQUIRED - keys) | (keys - REQUIRED - OPTIONAL))
    if wrong:
        expected = f"{', '.join(sorted(REQUIRED))} and perhaps {', '.join(sorted(OPTIONAL))}"
        raise bad_input(where, expected, f"{', '.join(wrong)} missing or unknown", "Check the spelling.")
    xy0, xy1 = (as_points(record[name], f"{where} {name}") for name in ("xy0", "xy1"))
    if len(xy0) != len(xy1):
        raise bad_input(where, "as many xy0 as xy1", f"{len(xy0)} and {len(xy1)}", "Write null for a hidden point.")
    box = record.get("box1_wh")
    if box is not None and not (isinstance(box, list) and len(box) == 2):
        raise bad_input(f"{where} box1_wh", "[width, height] above 0", shown(box), "Leave it out where there is none.")
    category = as_name(record.get("category", "all"), f"{where} category")
    images = tuple(_picture(path, record[key], f"{where} {key}") for key in ("image0", "image1"))
    name = as_name(record.get("name", f"{category}/{number}"), f"{where} name")
    wh = None if box is None else box_sides(box, f"{where} box1_wh")
    return KeypointPair(name, category, images[0], images[1], xy0, xy1, both_visible(xy0, xy1), wh)


def _picture(path: Path, named: Any, where: str) -> Path:
    """Return the picture a file names, wherever the file was written; the plain path where none is found."""
    listed = as_text(named, where, "the path of a picture")
    return find_file(listed, path.parent, strict=True) or path.parent / listed

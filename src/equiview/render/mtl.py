"""Material files of OBJ (MTL): plain colours and colour textures, with the options that stand before a file's name.

Source: Wavefront's description of the format, "MTL material format", 1995.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .mesh import Material
from .references import find_file, read_texture

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_UP_TO_3 = re.compile(rf"-(s|o|t)((?:\s+{_NUMBER}(?=\s)){{1,3}})\s+", re.IGNORECASE)
_CLAMP = re.compile(r"-clamp\s+(on|off)\s+", re.IGNORECASE)
_OTHER = re.compile(
    rf"-(mm(?:\s+{_NUMBER}){{2}}|(?:blendu|blendv|cc|imfchan|texres|bm|boost|type|colorspace)\s+\S+)\s+", re.IGNORECASE
)
_UNKNOWN = re.compile(rf"-([A-Za-z]\w*(?:\s+(?:on|off|{_NUMBER})(?=\s))*)\s+", re.IGNORECASE)
# Of what MTL can say about a material, this changes a picture and is not drawn.
_NOT_DRAWN = {"map_d": "opacity map", "map_ke": "emission", "decal": "decal"}


@dataclass(frozen=True)
class ObjMaterial:
    """A material, and how its texture lies on the surface.

    Attributes:
        material: What is drawn.
        scale: Multiplies the texture coordinates of the file.
        shift: Is added after.
    """

    material: Material
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def moved(self, uv: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Return coordinates with the origin at the bottom left, as the options of the texture have them."""
        return uv * self.scale + self.shift


@dataclass
class _Entry:
    """The lines of one material: its values by their key."""

    name: str
    values: dict[str, str] = field(default_factory=dict)


def read_materials(library: Path, obj_folder: Path, used: set[str], notes: list[str]) -> dict[str, ObjMaterial]:
    """Read those materials of a library that a mesh uses; what is lost of their looks is added to the notes.

    Args:
        library: The file.
        obj_folder: Textures are looked for beside the library, then here.
        used: Names.
        notes: Sentences are added.

    Raises:
        EquiviewError: A texture is there and does not open.
    """
    entries: dict[str, _Entry] = {}
    entry: _Entry | None = None
    for key, rest in statements(library.read_bytes()):
        if key == "newmtl":
            entry = entries.setdefault(rest, _Entry(rest))
        elif entry is not None and rest:
            entry.values[key] = rest
    folders = (library.parent, obj_folder)
    return {name: _material(entry, folders, notes) for name, entry in entries.items() if name in used}


def statements(data: bytes) -> list[tuple[str, str]]:
    """Return the keyword, in small letters, and the rest of every line of an OBJ or MTL file that says something.

    Comments and names come in any encoding; a line that ends in a backslash goes on in the next.
    """
    text = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    found = []
    for line in re.sub(r"(?<=\s)\\\n", " ", text).split("\n"):
        words = line.strip().split(maxsplit=1)
        if words and not words[0].startswith("#"):
            found.append((words[0].lower(), words[1].strip() if len(words) == 2 else ""))
    return found


def _material(entry: _Entry, folders: tuple[Path, ...], notes: list[str]) -> ObjMaterial:
    color = (*_color(entry, notes), 1.0)
    plain = Material(color=color, name=entry.name)
    lost = [words for key, words in _NOT_DRAWN.items() if key in entry.values]
    if lost:
        notes.append(f"Material {entry.name!r}: its {' and '.join(lost)} is left out.")
    if _is_see_through(entry.values):
        notes.append(f"Material {entry.name!r} is see-through; it is drawn opaque.")
    key = next((key for key in ("map_kd", "map_ka") if key in entry.values), None)
    if key is None:
        return ObjMaterial(plain)
    found, options, rest = _texture_file(entry.values[key], folders, notes)
    if found is None:
        notes.append(f"The texture {rest} was not found; the plain colour of its material is used.")
        return ObjMaterial(plain)
    # A texture takes the place of the diffuse colour, as most viewers have it: many files leave Kd out or black.
    textured = replace(plain, texture=read_texture(found, str(found)), color=(1.0, 1.0, 1.0, 1.0), wrap=options.wrap)
    return ObjMaterial(textured, options.scale, options.shift)


def _color(entry: _Entry, notes: list[str]) -> tuple[float, float, float]:
    """Return the diffuse colour; a grey where there is none, or none that is a colour."""
    words = entry.values.get("kd", "0.8 0.8 0.8").split()
    try:
        values = [float(word) for word in words[:3]]
    except ValueError:
        values = []
    if len(values) == 1:  # The blue and the green may be left out: they are as the red.
        values *= 3
    if len(values) != 3 or not all(np.isfinite(values)):
        notes.append(f"Material {entry.name!r}: its colour Kd {' '.join(words)[:40]} is none; grey is used.")
        return (0.8, 0.8, 0.8)
    red, green, blue = np.clip(values, 0, 1).tolist()
    return (red, green, blue)


def _is_see_through(values: dict[str, str]) -> bool:
    """Return whether opacity is stated below 1. Tr is its opposite, and 0 or 1 mean opaque in one program or other."""
    try:
        opaque = float(values.get("d", "1").removeprefix("-halo").split()[0])
        clear = float(values.get("tr", "0").split()[0])
    except (ValueError, IndexError):
        return False
    return opaque < 1 or 0 < clear < 1


@dataclass(frozen=True)
class _Options:
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False

    @property
    def wrap(self) -> tuple:
        return ("clamp", "clamp") if self.clamp else ("repeat", "repeat")


def _texture_file(text: str, folders: tuple[Path, ...], notes: list[str]) -> tuple[Path | None, _Options, str]:
    """Return the file behind the options, what they say, and what is left of the text as the file's name."""
    options = _Options()
    rest = text
    while rest.startswith("-"):
        if found := _UP_TO_3.match(rest):
            options = _with_numbers(options, found[1].lower(), [float(word) for word in found[2].split()], notes)
        elif found := _CLAMP.match(rest):
            options = replace(options, clamp=found[1].lower() == "on")
        elif found := _OTHER.match(rest) or _UNKNOWN.match(rest):
            notes.append(f"The texture option -{found[1].strip()} is left out.")
        else:
            break
        rest = rest[found.end() :]
    name = rest
    whole = find_file(text, *folders) if rest != text else None  # A name may begin with a hyphen.
    if whole is not None:
        return whole, _Options(), text
    path = find_file(name, *folders)
    if path is None and "#" in name:
        path = find_file(name.partition("#")[0], *folders)
    return path, options, name


def _with_numbers(options: _Options, key: str, numbers: list[float], notes: list[str]) -> _Options:
    """Return options with -s or -o; of what is left out, a scale is 1 and a shift 0. Turbulence -t is not drawn."""
    if not all(np.isfinite(numbers)):
        return options
    if key == "s":
        return replace(options, scale=(numbers[0], numbers[1] if len(numbers) > 1 else 1.0))
    if key == "o":
        return replace(options, shift=(numbers[0], numbers[1] if len(numbers) > 1 else 0.0))
    if any(numbers):
        notes.append("The texture option -t (turbulence) is left out.")
    return options

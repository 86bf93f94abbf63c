"""What a source shows, as a record that outlives its files: later objects are compared with what was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..schema import as_array, as_list, as_record
from .identity import Look, mesh_look, picture_hashes
from .names import source_name
from .open import Kind, mesh_sha256, source_files, source_kind

_AGAIN = "Train the adapter again, or get it again."


def content_of(source: str) -> dict[str, Any]:
    """Return what tells a source from others, as JSON.

    Returns:
        {"mesh_sha256", "shape", "colour"} of a mesh (see `identity.Look`), {"mesh_sha256"} of rendered views,
        {"pictures": hashes} of anything else.

    Raises:
        EquiviewError: It does not open.
    """
    kind = source_kind(source)
    if kind in (Kind.MADE, Kind.MESH):
        look = mesh_look(source)
        return {"mesh_sha256": look.sha256, "shape": look.shape.tolist(), "colour": look.colour.tolist()}
    if kind is Kind.VIEWS:
        return {"mesh_sha256": mesh_sha256(source)}
    return {"pictures": sorted(picture_hashes(source_files(source)))}


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two sources show one object, or share a picture, going by their contents.

    Raises:
        EquiviewError: A content that was stored does not hold what it should.
    """
    if "pictures" in one or "pictures" in other:
        hashes = [set(map(str, as_list(each.get("pictures", []), "pictures", fix=_AGAIN))) for each in (one, other)]
        return bool(hashes[0] & hashes[1])
    if one.get("mesh_sha256") is not None and one.get("mesh_sha256") == other.get("mesh_sha256"):
        return True
    return all("shape" in each for each in (one, other)) and _look(one).same_object(_look(other))


def _look(content: Mapping[str, Any]) -> Look:
    shape, colour = (content.get(key) for key in ("shape", "colour"))
    return Look(
        str(content.get("mesh_sha256")),
        as_array(shape, "shape of an object", (6,), _AGAIN),
        as_array(colour, "colour of an object", (3, 6), _AGAIN),
    )


def shown_before(sources: Sequence[str], names: set[str], contents: Mapping[str, Any]) -> list[str]:
    """Return the names of those sources that are among others, by their names or by their contents.

    Args:
        sources: What may have been seen.
        names: Of what was seen.
        contents: Of what was seen, as `content_of` gave them, by name; of older records there are none.

    Raises:
        EquiviewError: A source does not open, or a content was changed.
    """
    known = [as_record(content, f"content of {name!r}", fix=_AGAIN) for name, content in contents.items()]
    found = {
        source_name(source)
        for source in sources
        if source_name(source) in names or (known and any(same_content(content_of(source), one) for one in known))
    }
    return sorted(found)

"""Features packed for a page that answers clicks without a server: reduced, 8 bits a number, the loss measured."""

from .make import RUN_OBJECTS, make_pack, save_object
from .pack import Pack, PackedView, packed_maps, read_pack, save_pack
from .pictures import pack_pictures
from .truth import Truth, known_points, no_points

__all__ = [
    "RUN_OBJECTS",
    "Pack",
    "PackedView",
    "Truth",
    "known_points",
    "make_pack",
    "no_points",
    "pack_pictures",
    "packed_maps",
    "read_pack",
    "save_object",
    "save_pack",
]

"""The published protocols, with the numbers their authors report."""

from typing import Any

from .bench.published import PROTOCOLS, published, source_of


def list_protocols() -> list[dict[str, Any]]:
    """Return a record of every protocol and data set.

    Returns:
        {"protocol", "data_set", "settings" (words, with what differs here), "runs": whether `bench --protocol` has it,
        "source" of the numbers, "published": {backbone: {metric: value}}}.
    """
    return [
        {
            "protocol": one.name,
            "data_set": one.data_set,
            "settings": one.words,
            "runs": one.apply is not None,
            "source": source_of(one.name) if published(one.name, one.data_set) else "",
            "published": dict(published(one.name, one.data_set)),
        }
        for one in PROTOCOLS
    ]

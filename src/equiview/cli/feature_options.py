"""The options that name features: defined once, for every command that works on features."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..errors import bad_input
from ..jobs.feature_options import FeatureOptions, Position
from . import options

_EMPTY = inspect.Parameter.empty
# By field: the option as typer takes it, and its default.
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "backbone": (options.Backbone, _EMPTY),
    "adapter": (options.Adapter, None),
    "strength": (options.Strength, None),
    "preset": (options.Preset, None),
    "blocks": (options.Blocks, None),
    "norm": (
        Annotated[bool | None, typer.Option("--norm/--no-norm", help="The final LayerNorm on every block.")],
        None,
    ),
    "long_side": (options.LongSide, None),
    "thorough": (options.Thorough, False),
    "stride": (
        Annotated[int | None, typer.Option(min=1, max=1024, help="Patch stride; the patch size if left out.")],
        None,
    ),
    "position": (Annotated[Position | None, typer.Option(help="How positions are resized.")], None),
    "average": (
        Annotated[bool, typer.Option("--average/--no-average", help="Mean of 3x3 tokens, where there is no adapter.")],
        False,
    ),
    "random_weights": (options.RandomWeights, False),
    "dtype": (options.WeightsDtype, "float32"),
    "device": (options.Device, "auto"),
}
USUAL = (
    "backbone",
    "adapter",
    "strength",
    "preset",
    "blocks",
    "long_side",
    "thorough",
    "random_weights",
    "dtype",
    "device",
)


def with_features(
    *more: str, without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put the options that name features in the place of a command's parameter `features`.

    Args:
        more: Fields of `FeatureOptions` that this command has beside the usual ones.
        without: Usual ones that it does not have.
        defaults: Other defaults than the usual ones.
    """
    names = [name for name in _OPTIONS if name in (*USUAL, *more) and name not in without]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        added = [_parameter(name, *_OPTIONS[name], defaults) for name in names]
        own = [one.replace(kind=one.KEYWORD_ONLY) for one in inspect.signature(function).parameters.values()]
        # Required ones first: the help lists options in this order.
        every = added + [one for one in own if one.name != "features"]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in names}
            if chosen.pop("random_weights", False):
                chosen["random_seed"] = given.get("seed", 0)
            chosen["blocks"] = parse_blocks(chosen.get("blocks"))
            function(features=FeatureOptions(**chosen), **given)

        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        return run

    return decorate


def _parameter(name: str, option: Any, default: Any, defaults: dict[str, Any]) -> inspect.Parameter:
    value = defaults.get(name, default)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=option)


def parse_blocks(text: str | None) -> tuple[int, ...] | None:
    """Read `4,6,8,10`; None stays None (the backbone's last block, or what the adapter was made for).

    Raises:
        EquiviewError: It is not a list of whole numbers from 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 6 and int(part) >= 1 for part in parts):
        raise bad_input("--blocks", "numbers from 1 with commas, such as 4,6,8,10", repr(text), "Block 1 is the first.")
    return tuple(map(int, parts))

"""The strength of an adapter: one number from 0 to 1 for the LoRA and the fitted parts of the head."""

from collections.abc import Sequence
from typing import TypeVar

from ...errors import bad_input
from ...records import Settings
from ..extractor import Extractor
from ..heads import LinearHead, ResidualConvHead, check_strength, common_strength, head_parts, head_spec
from .lora import has_lora, lora_strength, set_lora_strength

E = TypeVar("E", bound=Extractor)


def set_strength(extractor: E, strength: float) -> E:
    """Set how much of an adapter is applied, in place: to the LoRA and to every linear or residual part of the head.

    At 0 the features are the pretrained ones through the parts of the head that were not fitted (averaging, centring),
    at 1 they are the adapted ones. The number is absolute: the strength before makes no difference.

    Args:
        extractor: With an adapter. A LoRA that was merged into the weights stays as it was merged.
        strength: From 0 to 1.

    Returns:
        The extractor.

    Raises:
        EquiviewError: Not a number from 0 to 1, or an adapter without a way back to the base.
    """
    strength = check_strength(strength)
    # All is checked before anything changes.
    check_adjustable(head_spec(extractor.head), has_lora(extractor.backbone), strength)
    if has_lora(extractor.backbone):
        set_lora_strength(extractor.backbone, strength)
    for part in head_parts(extractor.head):
        if isinstance(part, LinearHead | ResidualConvHead):
            part.strength = strength
    return extractor


def strength_of(extractor: Extractor) -> float | None:
    """Return the strength that the LoRA and the fitted parts of the head share.

    An adapter without any of them is always applied in full: 1. None where they have different ones.

    Raises:
        EquiviewError: The layers of the LoRA have different ones.
    """
    return common_strength(head_spec(extractor.head), lora_strength(extractor.backbone))


def check_adjustable(head: Sequence[Settings], lora: bool, strength: float) -> None:
    """Check that an adapter can be applied at a strength.

    Args:
        head: As `head_spec` describes it.
        lora: Whether there is a LoRA.
        strength: From 0 to 1; 1 is always possible.

    Raises:
        EquiviewError: A part of the head replaces the features, or nothing is adjustable.
    """
    if strength == 1:
        return
    kinds = [str(part.get("kind")) for part in head]
    if "random_conv" in kinds:
        found = f"{strength:g} for a head of random_conv, which replaces the features and has no base to go back to"
        fix = "Leave the strength out, or train with a recipe whose head is linear or residual_conv."
        raise bad_input("strength", "1", found, fix)
    for part in head:
        inputs, outputs = part.get("in"), part.get("out")
        if inputs != outputs:
            found = f"{strength:g} for a linear head from {inputs} to {outputs} channels"
            raise bad_input("strength", "1", found, "Leave the strength out: other channels have no mixture.")
    if not lora and not {"linear", "residual_conv"} & set(kinds):
        found = f"{strength:g} for {', '.join(kinds) or 'no head'} without a LoRA: nothing in it was fitted"
        raise bad_input("strength", "1", found, "Leave the strength out, or give another adapter.")

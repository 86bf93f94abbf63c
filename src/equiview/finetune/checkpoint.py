"""Training checkpoints: trainable weights, optimiser, progress, and the identity of the run they belong to."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from ..errors import EquiviewError, bad_input
from ..io import atomic_path
from ..models.extractor import Extractor
from ..models.heads import head_spec
from ..schema import check, check_weights, library_loading, reason
from .network_settings import NetworkTraining
from .pairs import Objects

FORMAT = 2
"""Raised when the content changes; part of the identity, so that another one is refused by name."""
# How long a run goes on and how often it saves may change when it is continued; nothing else may.
SINCE_2 = ("format", "recipe.features", "recipe.head")
FREE = ("stage", "steps", "checkpoint_every")


class Progress(TypedDict):
    """How far a run is: the fields of `TrainResult`."""

    steps: int
    losses: list[float | None]
    skipped: dict[str, int]
    next_pair: int
    seconds: float
    stopped_by: str
    resumed_from: int


class Checkpoint(TypedDict):
    """What a checkpoint holds."""

    identity: dict[str, Any]
    parameters: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    state: Progress


def fingerprint(settings: NetworkTraining, seed: int, objects: Objects, extractor: Extractor) -> dict[str, Any]:
    """Return what must agree for a run to be continued (JSON values)."""
    held = {k: v for k, v in dataclasses.asdict(settings).items() if k not in FREE}
    held |= {"features": dataclasses.asdict(extractor.config), "head": head_spec(extractor.head)}
    backbone = extractor.backbone.info
    identity = {f"recipe.{key}": value for key, value in held.items()} | {
        "format": FORMAT,
        "seed": seed,
        "objects": {name: len(objects[name]) for name in sorted(objects)},
        "backbone": {"family": backbone.family, "weights_sha256": backbone.weights_sha256},
    }
    return json.loads(json.dumps(identity))


def save_checkpoint(
    path: Path,
    identity: Mapping[str, Any],
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    state: Mapping[str, Any],
) -> None:
    """Write atomically; tensors and plain values only, so that it loads without executing anything."""
    content = {
        "identity": dict(identity),
        "parameters": {name: p.detach().cpu() for name, p in parameters.items()},
        "optimiser": optimiser.state_dict(),
        "state": dict(state) | {"skipped": dict(state["skipped"])},
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            # torch's zip writer reports a full disk as a RuntimeError.
            told = "the checkpoint could not be written; the disk is probably full"
            raise EquiviewError(f"{path}: {told}. Free some space and run the same command again.") from error


def load_checkpoint(
    path: Path,
    identity: Mapping[str, Any],
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put weights and optimiser back and return the progress.

    Raises:
        EquiviewError: The file is broken, or belongs to another recipe, seed, backbone or data.
    """
    fix = f"Delete {path} to start afresh, or choose another folder."
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Only the first sentence of torch: its next ones say how to switch its protection off.
        told = f"a broken file ({reason(error).split('. ')[0]})"
        raise bad_input(str(path), "a training checkpoint", told, fix) from error
    check(content, Checkpoint, str(path), fix)
    found, saved = content["identity"], content["parameters"]
    if found.get("format") == 1:
        # Of a whole recipe, with other names for what the run record holds as well: features, head, objects.
        found = dict(identity) | {k: v for k, v in found.items() if k in identity and k not in SINCE_2}
    differing = sorted(k for k in {*found, *identity} if found.get(k) != identity.get(k))
    if differing:
        told = ", ".join(f"{k} {found.get(k)!r} (now {identity.get(k)!r})" for k in differing[:4])
        raise bad_input(str(path), "a checkpoint of this run", f"one of another: {told}", fix)
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in saved.items()}:
        raise bad_input(str(path), "weights of this adapter and head", "other names or shapes", fix)
    check_weights(saved, f"{path}: parameters", fix)
    settings = [_settings(group) for group in optimiser.param_groups]
    with library_loading(f"{path}: optimiser", "the state of this optimiser", fix):
        optimiser.load_state_dict(content["optimiser"])
    moments = {f"{n}.{key}": v for n, one in enumerate(optimiser.state.values()) for key, v in one.items()}
    check(moments, dict[str, torch.Tensor], f"{path}: optimiser", fix)
    check_weights(moments, f"{path}: optimiser", fix)
    sizes = [{p.shape, torch.Size()} for p in optimiser.state]
    fitting = all(
        v.shape in size for size, one in zip(sizes, optimiser.state.values(), strict=True) for v in one.values()
    )
    if not fitting or settings != [_settings(group) for group in optimiser.param_groups]:
        raise bad_input(f"{path}: optimiser", "the moments and settings of this run", "others", fix)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])
    state: dict[str, Any] = content["state"]
    return state


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}

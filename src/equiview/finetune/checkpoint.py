"""Training checkpoints: trainable weights, optimiser, progress, and the identity of the run they belong to."""

import dataclasses
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import EquiviewError, bad_input
from ..io import atomic_path, read_jsonl
from ..models.extractor import Extractor
from .pairs import Objects
from .recipes import Recipe

FORMAT = 1
"""Raised when the content changes; part of the identity, so that another one is refused by name."""
# How long a run goes on and how often it saves may change when it is continued; nothing else may.
FREE = ("steps", "time_budget_s", "checkpoint_every")


def fingerprint(recipe: Recipe, seed: int, objects: Objects, extractor: Extractor) -> dict[str, Any]:
    """Return what must agree for a run to be continued (JSON values)."""
    settings = {k: v for k, v in dataclasses.asdict(recipe).items() if k not in FREE}
    backbone = extractor.backbone.info
    identity = {f"recipe.{key}": value for key, value in settings.items()} | {
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
        found, saved, state = content["identity"], content["parameters"], content["state"]
        moments = content["optimiser"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise bad_input(str(path), "a training checkpoint", f"a broken file ({reason})", fix) from error
    differing = sorted(k for k in {*found, *identity} if found.get(k) != identity.get(k))
    if differing:
        told = ", ".join(f"{k} {found.get(k)!r} (now {identity.get(k)!r})" for k in differing[:4])
        raise bad_input(str(path), "a checkpoint of this run", f"one of another: {told}", fix)
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in saved.items()}:
        raise bad_input(str(path), "weights of this adapter and head", "other names or shapes", fix)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])
    optimiser.load_state_dict(moments)
    return state


def trim_log(path: Path, steps: int) -> None:
    """Drop rows of steps after the checkpoint and an unfinished last line: they will be done again."""
    if not path.exists():
        return
    rows = [row for row in read_jsonl(path) if row.get("step", 0) <= steps]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))

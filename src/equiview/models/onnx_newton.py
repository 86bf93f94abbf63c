"""The two operators of `onnx_whiten` in ONNX: the same products, written as nodes."""

import math
from collections.abc import Callable
from typing import Any

import torch

from .onnx_whiten import ROOTS, series, step_scales


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what torch's exporter writes for each of them; needs onnxscript."""
    return {
        torch.ops.equiview.negative_power.default: _negative_power,
        torch.ops.equiview.inverse_root.default: _inverse_root,
    }


def _operators() -> Any:
    """Return onnxscript's operators; its types know values only, not what torch's exporter hands in."""
    from onnxscript import opset20

    return opset20


def _negative_power(matrix: Any, power: float, least: float) -> Any:
    op = _operators()

    eye = _eye(matrix)
    for _ in range(ROOTS):
        matrix, _ = _newton_roots(matrix, eye, least)
        least = math.sqrt(least)
    centre, factors = series(power, least)
    rest, total = op.Sub(eye, op.Div(matrix, _number(centre))), op.Mul(eye, _number(factors[-1]))
    for factor in reversed(factors[:-1]):
        total = op.Add(op.MatMul(total, rest), op.Mul(eye, _number(factor)))
    return total


def _inverse_root(matrix: Any, least: float) -> Any:
    return _newton_roots(matrix, _eye(matrix), least)[1]


def _newton_roots(matrix: Any, eye: Any, least: float) -> tuple[Any, Any]:
    op = _operators()

    root, inverse = matrix, eye
    for scale in step_scales(math.sqrt(least)):
        product = op.Mul(op.MatMul(inverse, root), _number(0.5 * scale**3))
        step = op.Sub(op.Mul(eye, _number(1.5 * scale)), product)
        root = op.MatMul(root, step)
        inverse = op.MatMul(step, inverse)
    return root, inverse


def _eye(matrix: Any) -> Any:
    """Return the unit matrix of a size that is known while the graph is written."""
    op = _operators()

    side = int(matrix.shape[-1])
    values = torch.eye(side).flatten().tolist()
    return op.Reshape(op.Constant(value_floats=values), op.Constant(value_ints=[side, side]))


def _number(value: float) -> Any:
    op = _operators()

    return op.Constant(value_float=value)

"""Convert ONNX models for older runtimes: operators of version 17, without notes of the exporter."""

from __future__ import annotations

from typing import Any

from basicsr.utils.errors import ArgumentError

OLDEST = 17
"""The oldest supported version of the operators: the first with LayerNormalization and Fourier transforms."""
EXPORTED = 18
"""The oldest version that torch's exporter writes."""

_REDUCTIONS = frozenset(
    f'Reduce{kind}' for kind in ('L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'SumSquare')
)  # the axes of ReduceSum are an input since version 13


def newest() -> int:
    """Return the newest version of the operators in the installed package onnx."""
    import onnx

    return int(onnx.defs.onnx_opset_version())


def opset_of(model: Any) -> int:
    """Return the version of the ONNX operators in a model.

    Args:
        model: ``onnx.ModelProto``.
    """
    return int(next(entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx')))


def to_opset_17(model: Any) -> None:
    """Convert a model from version 18 to version 17, in place.

    Args:
        model: ``onnx.ModelProto`` without functions and subgraphs, as from torch.

    Raises:
        ArgumentError: the model needs operators that version 17 lacks.
    """
    import onnx
    import onnxscript

    constants = {value.name: value for value in model.graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in model.graph.node
        if node.op_type == 'Constant' and node.attribute[0].name == 'value'
    }
    for node in model.graph.node:
        if node.op_type in _REDUCTIONS:
            _axes_as_attribute(node, constants)
        elif node.op_type == 'Split':  # version 17 also splits into equal parts, one per output
            _drop(node, 'num_outputs')
        elif node.op_type == 'Resize':
            _drop(node, 'antialias', 0)
            _drop(node, 'keep_aspect_ratio_policy', b'stretch')
    for entry in model.opset_import:
        if entry.domain in ('', 'ai.onnx'):
            entry.version = OLDEST
    onnxscript.optimizer.remove_unused_nodes(model)
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArgumentError(f'this network cannot be written with opset {OLDEST}; use 18 or newer ({error})') from error


def tidy(model: Any) -> None:
    """Remove the exporter's notes (positions in source files), and set the oldest possible IR version, in place.

    Args:
        model: ``onnx.ModelProto``.
    """
    import onnx

    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ''
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ''
    del model.graph.metadata_props[:]
    model.graph.doc_string = ''
    model.ir_version = min(model.ir_version, onnx.helper.find_min_ir_version_for(list(model.opset_import)))


def _axes_as_attribute(node: Any, constants: dict[str, Any]) -> None:
    import onnx

    axes: list[int] = []
    if len(node.input) > 1:
        if node.input[1] not in constants:
            raise ArgumentError(f'opset {OLDEST} has no {node.op_type} with computed axes; use 18 or newer')
        axes = onnx.numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
        del node.input[1:]
    if _drop(node, 'noop_with_empty_axes') and not axes:
        node.op_type = 'Identity'
        del node.attribute[:]
    elif axes:
        node.attribute.append(onnx.helper.make_attribute('axes', axes))


def _drop(node: Any, name: str, default: Any = None) -> Any:
    """Remove an attribute and return its value. An attribute that differs from ``default`` is kept."""
    import onnx

    for index, attribute in enumerate(node.attribute):
        if attribute.name == name:
            value = onnx.helper.get_attribute_value(attribute)
            if default is None or value == default:
                del node.attribute[index]
            return value
    return None

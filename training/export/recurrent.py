"""A recurrent network as an ONNX model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import onnx
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from training.export.tidy import without_notes

_NO_LIMIT = 2**31
PRODUCER = "menagerie"


def export_recurrent(
    network: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    *,
    axes: dict[int, str],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Export a network whose recurrent layers are `training.models.recurrent.Recurrent`.

    Args:
        network: on the CPU; it is put into evaluation mode.
        example: the input, or all of them in order; their dynamic axes are neither of length 1 nor as long as any
            other, lest the exporter take them for something else.
        axes: the dynamic axes and their names, the same for all inputs.
        inputs: names of the inputs, in order.
        outputs: names of the outputs, in order.
    """
    examples = example if isinstance(example, tuple) else (example,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own insides
        program = torch.onnx.export(
            network.eval(),
            examples,
            dynamo=True,
            dynamic_shapes=(axes,) * len(examples),
            input_names=inputs,
            output_names=outputs,
            verbose=False,
        )
    assert program is not None, "the exporter returns None only when it writes a file. This is a bug."
    # The exporter folds small constants only; the reordered weights would be computed at every start.
    model = onnxscript.optimizer.optimize(program.model_proto, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    model.producer_name = PRODUCER
    return without_notes(model)

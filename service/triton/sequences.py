"""`sequence_batching` of a configuration: state that the server keeps, and facts that the graph takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.model_config_pb2 import ModelConfig, ModelSequenceBatching
from service.models.catalog import INITIAL_STATES
from service.models.model_settings import Control, Fact, SequenceSettings, State
from service.triton.files import read_tensor
from service.triton.values import datatype_name, fixed_shape, zeros
from zoo.errors import PackageError

_Control = ModelSequenceBatching.Control
_FACTS = {
    _Control.CONTROL_SEQUENCE_START: Fact.START,
    _Control.CONTROL_SEQUENCE_READY: Fact.READY,
    _Control.CONTROL_SEQUENCE_END: Fact.END,
    _Control.CONTROL_SEQUENCE_CORRID: Fact.ID,
}
_ID_TYPES = ("UINT64", "INT64", "UINT32", "INT32", "BYTES")
_PAIRS = {"int32_false_true": "INT32", "fp32_false_true": "FP32", "bool_false_true": "BOOL"}
_DEFAULT_IDLE_SECONDS = 1.0


def sequence_settings(config: ModelConfig, folder: Path) -> SequenceSettings | None:
    """What the model does with sequences; None: nothing.

    Raises:
        PackageError: naming the field that is wrong.
    """
    if not config.HasField("sequence_batching"):
        return None
    batching = config.sequence_batching
    return SequenceSettings(
        tuple(_state(state, index, folder) for index, state in enumerate(batching.state)),
        tuple(_control(control, index) for index, control in enumerate(batching.control_input)),
        batching.max_sequence_idle_microseconds / 1e6 or _DEFAULT_IDLE_SECONDS,
    )


def sequence_delay_seconds(batching: ModelSequenceBatching) -> float:
    """How long a step may wait for those of other sequences."""
    if batching.HasField("oldest"):
        return batching.oldest.max_queue_delay_microseconds / 1e6
    # The wait of the direct strategy is for a part of the slots; with none asked for, it does not wait.
    return batching.direct.max_queue_delay_microseconds / 1e6 if batching.direct.minimum_slot_utilization else 0.0


def _state(state: ModelSequenceBatching.State, index: int, folder: Path) -> State:
    field = f"sequence_batching.state[{index}]"
    if not state.input_name or not state.output_name:
        raise PackageError(f"{field} needs input_name and output_name")
    datatype = datatype_name(state.data_type, f"{field}.data_type")
    if any(axis < -1 or axis == 0 for axis in state.dims):
        raise PackageError(f"{field}.dims is {list(state.dims)}; a size is positive, or -1 for one that may change")
    initial = _initial(state, field, folder) if state.initial_state else None
    return State(state.input_name, state.output_name, datatype, tuple(state.dims), initial)


def _initial(state: ModelSequenceBatching.State, field: str, folder: Path) -> NDArray[np.generic]:
    if len(state.initial_state) > 1:
        raise PackageError(f"{field}.initial_state is there {len(state.initial_state)} times; give one")
    first, field = state.initial_state[0], f"{field}.initial_state[0]"
    datatype = datatype_name(first.data_type, f"{field}.data_type")
    shape = fixed_shape(first.dims, f"{field}.dims")
    fits = len(shape) == len(state.dims) and all(
        wanted in (-1, axis) for axis, wanted in zip(shape, state.dims, strict=True)
    )
    if first.data_type != state.data_type or not fits:
        raise PackageError(f"{field} is {datatype} of shape {list(shape)}, which does not fit the state")
    if first.WhichOneof("state_data") == "data_file":
        return read_tensor(folder, INITIAL_STATES, first.data_file, f"{field}.data_file", datatype, shape)
    return zeros(datatype, shape)


def _control(control_input: ModelSequenceBatching.ControlInput, index: int) -> Control:
    field = f"sequence_batching.control_input[{index}]"
    if not control_input.name or len(control_input.control) != 1:
        raise PackageError(f"{field} needs a name and one control; it has {len(control_input.control)}")
    control, field = control_input.control[0], f"{field}.control[0]"
    fact = _FACTS[control.kind]
    if fact is Fact.ID:
        datatype = datatype_name(control.data_type, f"{field}.data_type")
        if datatype not in _ID_TYPES:
            raise PackageError(f"{field}.data_type is {datatype}; an id is one of {', '.join(_ID_TYPES)}")
        return Control(control_input.name, fact, datatype)
    given = [name for name in _PAIRS if getattr(control, name)]
    if len(given) != 1 or len(getattr(control, given[0])) != 2:
        raise PackageError(f"{field} needs one of {', '.join(_PAIRS)}, with two values: false and true")
    false, true = getattr(control, given[0])
    return Control(control_input.name, fact, _PAIRS[given[0]], float(false), float(true))

"""Which fields of a configuration are honoured, which may be passed over, and that all others are refused.

Everything is refused that is not named here, so a field that is new, or was forgotten, can never be half understood.
A scalar that has its default value (false, 0, empty) is not set, in this format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from zoo.errors import PackageError

_HONOURED_IN = {
    "": "name platform backend max_batch_size default_model_filename input output version_policy instance_group "
    "dynamic_batching sequence_batching model_warmup parameters",
    "parameters": "string_value",
    "optimization": "cuda",
    "optimization.cuda": "graphs",
    "input": "name data_type format dims reshape",
    "input.reshape": "shape",
    "output": "name data_type dims reshape label_filename",
    "output.reshape": "shape",
    "version_policy": "latest all specific",
    "version_policy.latest": "num_versions",
    "version_policy.specific": "versions",
    "instance_group": "name kind count gpus",
    "dynamic_batching": "max_queue_delay_microseconds priority_levels default_priority_level default_queue_policy "
    "priority_queue_policy",
    "dynamic_batching.default_queue_policy": "default_timeout_microseconds allow_timeout_override max_queue_size",
    "dynamic_batching.priority_queue_policy": "default_timeout_microseconds allow_timeout_override max_queue_size",
    "sequence_batching": "max_sequence_idle_microseconds control_input state direct oldest",
    "sequence_batching.control_input": "name control",
    "sequence_batching.control_input.control": "kind int32_false_true fp32_false_true bool_false_true data_type",
    "sequence_batching.state": "input_name output_name data_type dims initial_state",
    "sequence_batching.state.initial_state": "name data_type dims zero_data data_file",
    "sequence_batching.direct": "max_queue_delay_microseconds",
    "sequence_batching.oldest": "max_queue_delay_microseconds",
    "model_warmup": "name batch_size count inputs",
    "model_warmup.inputs": "data_type dims zero_data random_data input_data_file",
}
HONOURED = frozenset(f"{group}.{name}".lstrip(".") for group, names in _HONOURED_IN.items() for name in names.split())
"""Paths of the fields that are honoured, lists and maps without their keys."""

_BATCH_IS_WHAT_WAITS = "a batch is what waits when the model becomes free"
_OWN_MEMORY = "this server manages memory in its own way"
_SPEED_ONLY = "it changes the speed only, which this server sees to in its own way"

PASSED_OVER = {
    "dynamic_batching.preferred_batch_size": _BATCH_IS_WHAT_WAITS,
    "sequence_batching.oldest.preferred_batch_size": _BATCH_IS_WHAT_WAITS,
    "sequence_batching.direct.minimum_slot_utilization": _BATCH_IS_WHAT_WAITS,
    "sequence_batching.oldest.max_candidate_sequences": "every sequence that is alive is a candidate",
    "sequence_batching.oldest.preserve_ordering": "steps of a sequence are always answered in order",
    "sequence_batching.state.use_same_buffer_for_input_output": _OWN_MEMORY,
    "optimization.graph": _SPEED_ONLY,
    "optimization.priority": _SPEED_ONLY,
    "optimization.cuda.busy_wait_events": _SPEED_ONLY,
    "optimization.cuda.graph_spec": "a graph is recorded for each batch size that is warmed up",
    "optimization.cuda.output_copy_stream": _SPEED_ONLY,
    "optimization.input_pinned_memory": _OWN_MEMORY,
    "optimization.output_pinned_memory": _OWN_MEMORY,
    "optimization.gather_kernel_buffer_threshold": _SPEED_ONLY,
    "optimization.eager_batching": _SPEED_ONLY,
}
"""Fields that change no answer, and why; whoever sets one is told in the log."""


def check_fields(config: Message, source: str) -> tuple[str, ...]:
    """Refuse every field that is set and not supported.

    Args:
        config: the configuration.
        source: what to call it in an error.

    Returns:
        One sentence for each field that is passed over.

    Raises:
        PackageError: naming the field.
    """
    notes = {}
    for path, where in _set_fields(config):
        if path in PASSED_OVER:
            notes[path] = f"{source}: {where} is passed over: {PASSED_OVER[path]}"
        elif path not in HONOURED and path not in _OPEN:
            raise PackageError(f"{source}: the field {where!r} is not supported by this server; remove it")
    return tuple(notes.values())


_OPEN = frozenset({"optimization"})
"""Groups whose fields are judged one by one."""


def _set_fields(message: Message, path: str = "", where: str = "") -> Iterator[tuple[str, str]]:
    """Every field that is set: its path, and the same with the positions in lists. Stops where a field is passed
    over or refused as a whole."""
    for descriptor, value in message.ListFields():
        field, place = f"{path}{descriptor.name}", f"{where}{descriptor.name}"
        yield field, place
        if descriptor.message_type is None or (field not in HONOURED and field not in _OPEN):
            continue
        for key, child in _children(value):
            yield from _set_fields(child, f"{field}.", f"{place}{key}.")


def _children(value: Any) -> Iterator[tuple[str, Message]]:
    """The messages in a field, with the keys that they have there."""
    if isinstance(value, Message):
        yield "", value
        return
    for key, child in value.items() if hasattr(value, "items") else enumerate(value):
        yield f"[{key}]", child

"""A configuration made for Triton that cannot be honoured is refused, with the name of the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service import plain_graphs
from tests.service.conftest import Serve
from tests.service.triton_layout import add_model


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("max_batch_size: -1", "config.pbtxt: max_batch_size is -1"),
        (
            f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{"1" * 5000}" }} }}',
            "use 1 to 256, or 0 for the server's choice",
        ),
        (
            f'parameters {{ key: "gpu_mem_limit" value {{ string_value: "{"1" * 5000}" }} }}',
            "use a number of bytes",
        ),
        ("max_batchsize: 4", 'no field named "max_batchsize"'),
        ('backend: "python"', "config.pbtxt: backend 'python' is not supported; this server runs 'onnxruntime'"),
        ('name: "other"', "name is 'other', but the folder is 'model'; rename one of them"),
        ("response_cache { enable: true }", "the field 'response_cache' is not supported by this server; remove it"),
        ('input { name: "z" dims: [ 3 ] }', "input[0]: callers have no input 'z'; they have x"),
        ('max_batch_size: 4 input { name: "x" dims: [ 4 ] }', "input[0]: 'x' has shape [4], but the graph [3]"),
        (
            'max_batch_size: 4 input { name: "x" data_type: TYPE_INT8 dims: [ 3 ] }',
            "input[0]: 'x' is INT8, but the graph has FP32",
        ),
        ('max_batch_size: 4 input { name: "x" dims: [ 3 ] format: FORMAT_NHWC }', "input[0].format is NHWC, which"),
        (
            'max_batch_size: 4 input { name: "x" dims: [ 4 ] reshape { shape: [ 3 ] } }',
            "input[0]: [4] cannot be reshaped to [3]",
        ),
        (
            'output { name: "y" label_filename: "../secret" }',
            "output[0].label_filename: '../secret' cannot name a file",
        ),
        ('output { name: "y" label_filename: "none" }', "output[0].label_filename: 'none' cannot be read"),
        ('default_model_filename: "/etc/passwd"', "default_model_filename: '/etc/passwd' cannot name a file"),
        ("instance_group { kind: KIND_GPU }", "instance_group.kind is KIND_GPU, but this server runs on cpu"),
        ("instance_group { kind: KIND_CPU passive: true }", "the field 'instance_group[0].passive' is not supported"),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
            "the field 'dynamic_batching.default_queue_policy.timeout_action' is not supported",
        ),
        ("dynamic_batching { priority_levels: 2 }", "dynamic_batching.default_priority_level is 0; use 1 to 2"),
        ("sequence_batching { iterative_sequence: true }", "the field 'sequence_batching.iterative_sequence' is not"),
        (
            'sequence_batching { state { input_name: "h" output_name: "y" data_type: TYPE_FP32 dims: [ 3 ] } }',
            "state input 'h' is not in the graph",
        ),
        (
            'sequence_batching { control_input { name: "x" control { kind: CONTROL_SEQUENCE_START } } }',
            "control_input[0].control[0] needs one of int32_false_true",
        ),
        ("model_warmup { batch_size: 9 }", "model_warmup[0].batch_size is 9; use 1 to 1"),
        (
            'max_batch_size: 2 model_warmup { batch_size: 1 inputs { key: "q" value '
            "{ data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } } }",
            "inputs are missing, or are none of the graph: q, x",
        ),
    ],
)
async def test_a_configuration_that_cannot_be_honoured(serve: Serve, tmp_path: Path, config: str, reason: str) -> None:
    add_model(tmp_path, "model", config, plain_graphs.affine())
    calls = await serve(tmp_path)
    (entry,) = calls.server.table.entries()
    assert reason in entry.reason
    assert entry.model is None
    assert str(tmp_path) not in entry.reason

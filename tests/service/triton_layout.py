"""Repositories as they are made for Triton."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent


def add_model(repository: Path, name: str, config: str, *versions: bytes, file: str = "model.onnx") -> Path:
    """Put a model with its config.pbtxt into a repository; versions are numbered from 1. Returns its folder."""
    folder = repository / name
    folder.mkdir(parents=True)
    for number, data in enumerate(versions, 1):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / file).write_bytes(data)
    (folder / "config.pbtxt").write_text(dedent(config))
    return folder


ACCUMULATOR = """
    # A stateful model: the server keeps the state.
    name: "accumulate"
    platform: "onnxruntime_onnx"
    max_batch_size: 4
    input [ { name: "INPUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
    output [
      { name: "OUTPUT" data_type: TYPE_FP32 dims: [ 1 ] },
      { name: "FACTS" data_type: TYPE_INT64 dims: [ 1 ] }
    ]
    sequence_batching {
      max_sequence_idle_microseconds: 5000000
      oldest { max_candidate_sequences: 16 }
      control_input [
        { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
        { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
        { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } ] }
      ]
      state [ { input_name: "STATE_IN" output_name: "STATE_OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
    }
    model_warmup [
      {
        name: "zeros" batch_size: 2 count: 2
        inputs { key: "INPUT" value { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } }
      }
    ]
"""

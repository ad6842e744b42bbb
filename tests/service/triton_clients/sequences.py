"""tritonclient.grpc, sequences: `python sequences.py ADDRESS`, on a server with the model `accumulate`: OUTPUT is the
sum of what the sequence sent as INPUT, FACTS is 1000 ID + 10 START + END."""

from __future__ import annotations

import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        assert client.get_model_config("accumulate").config.HasField("sequence_batching")
        calls_take_turns(client)
        a_step_without_a_start(client)
        on_a_stream(client)


def calls_take_turns(client: triton.InferenceServerClient) -> None:
    totals: dict[int, float] = {7: 0.0, 8: 0.0}
    for step in range(4):
        for key in totals:
            totals[key] += key * (step + 1)
            start, end = step == 0, step == 3
            result = client.infer(
                "accumulate", [value(key * (step + 1))], sequence_id=key, sequence_start=start, sequence_end=end
            )
            assert result.as_numpy("OUTPUT").tolist() == [[totals[key]]]
            assert result.as_numpy("FACTS").tolist() == [[1000 * key + 10 * start + end]]


def a_step_without_a_start(client: triton.InferenceServerClient) -> None:
    try:
        client.infer("accumulate", [value(1)], sequence_id=7)
    except InferenceServerException as exc:
        assert "must specify the START flag on the first request of the sequence" in exc.message(), exc
    else:
        raise AssertionError("the sequence ended, its id must start again")


def on_a_stream(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[tuple[triton.InferResult | None, InferenceServerException | None]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for step in range(20):
        for key in (11, 12):
            client.async_stream_infer(
                *("accumulate", [value(key)]), sequence_id=key, sequence_start=step == 0, sequence_end=step == 19
            )
    for step in range(20):
        for key in (11, 12):
            result, error = answers.get(timeout=10)
            assert error is None, error
            assert result.as_numpy("OUTPUT").tolist() == [[key * (step + 1)]]
    client.stop_stream()


def value(number: float) -> triton.InferInput:
    asked = triton.InferInput("INPUT", [1, 1], "FP32")
    asked.set_data_from_numpy(np.array([[number]], np.float32))
    return asked


if __name__ == "__main__":
    main(sys.argv[1])

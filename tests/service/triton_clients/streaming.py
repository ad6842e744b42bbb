"""tritonclient.grpc, a stream with a callback: `python streaming.py ADDRESS`."""

from __future__ import annotations

import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

Answer = tuple[triton.InferResult | None, InferenceServerException | None]


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        in_order_with_errors_in_their_places(client)
        the_last_response_says_so(client)
        a_stream_that_ends_at_the_first_error(client)


def in_order_with_errors_in_their_places(client: triton.InferenceServerClient) -> None:
    answers = start(client)
    for number in range(300):
        # The slow ones come first, so that answers would overtake them if they could.
        model, name = ("busy", "rounds") if number < 3 else ("lookup", "index")
        value = 300_000 if number < 3 else number % 12
        client.async_stream_infer(model, [tensor(name, np.array([[value]]))], request_id=str(number))
    for number in range(300):
        result, error = answers.get(timeout=20)
        if number >= 3 and number % 12 > 9:  # out of the table's range: the run fails
            assert result is None
            assert "the model failed on this input" in error.message()
        else:
            assert error is None, error
            assert result.get_response().id == str(number)
            assert result.as_numpy("y")[0, 0] == (300_000 if number < 3 else 10 * (number % 12))
    client.stop_stream()


def the_last_response_says_so(client: triton.InferenceServerClient) -> None:
    answers = start(client)
    x = [tensor("x", np.ones((1, 3), np.float32))]
    client.async_stream_infer("affine", x, enable_empty_final_response=True)
    client.async_stream_infer("affine", x)
    marked, plain = (answers.get(timeout=10)[0].get_response() for _ in range(2))
    assert marked.parameters["triton_final_response"].bool_param
    assert "triton_final_response" not in plain.parameters
    client.stop_stream()


def a_stream_that_ends_at_the_first_error(client: triton.InferenceServerClient) -> None:
    answers = start(client, headers={"triton_grpc_error": "true"})
    client.async_stream_infer("lookup", [tensor("index", np.array([[1]]))])
    client.async_stream_infer("nobody", [tensor("index", np.array([[1]]))])
    assert answers.get(timeout=10)[1] is None
    error = answers.get(timeout=10)[1]
    assert error is not None
    assert error.status() == "StatusCode.NOT_FOUND"
    assert error.message() == "Request for unknown model: 'nobody' is not found"
    client.stop_stream()


def start(client: triton.InferenceServerClient, **options: Any) -> queue.Queue[Answer]:
    answers: queue.Queue[Answer] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), **options)
    return answers


def tensor(name: str, values: np.ndarray) -> triton.InferInput:
    asked = triton.InferInput(name, list(values.shape), "FP32" if values.dtype == np.float32 else "INT64")
    asked.set_data_from_numpy(values)
    return asked


if __name__ == "__main__":
    main(sys.argv[1])

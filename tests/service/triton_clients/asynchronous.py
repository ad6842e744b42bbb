"""tritonclient.grpc.aio: `python asynchronous.py ADDRESS`. Unary calls side by side, and a stream."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException


async def main(address: str) -> None:
    async with triton.InferenceServerClient(address) as client:
        await descriptions(client)
        await side_by_side(client)
        await stream(client)
        await stream_ends_at_the_first_error(client)


async def descriptions(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("affine")
    assert (await client.get_model_config("affine", as_json=True))["config"]["input"][0]["dims"] == ["3"]
    assert (await client.get_inference_statistics("affine")).model_stats[0].version == "1"
    assert (await client.get_model_repository_index()).models


async def side_by_side(client: triton.InferenceServerClient) -> None:
    results = await asyncio.gather(*(client.infer("affine", [row(number)]) for number in range(50)))
    assert [float(result.as_numpy("y")[0, 0]) for result in results] == [2.0 * number + 1 for number in range(50)]
    try:
        await client.infer("nobody", [row(1)])
    except InferenceServerException as exc:
        assert exc.message() == "Request for unknown model: 'nobody' is not found"
    else:
        raise AssertionError("not refused")


async def stream(client: triton.InferenceServerClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(200):
            model = "nobody" if number == 50 else "affine"
            yield {"model_name": model, "inputs": [row(number)], "request_id": str(number)}

    answers = [answer async for answer in client.stream_infer(requests())]
    assert len(answers) == 200
    for number, (result, error) in enumerate(answers):
        if number == 50:
            assert error.message() == "Request for unknown model: 'nobody' is not found"
        else:
            assert error is None
            assert result.get_response().id == str(number)
            assert result.as_numpy("y")[0, 0] == 2 * number + 1


async def stream_ends_at_the_first_error(client: triton.InferenceServerClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for model in ("affine", "nobody"):  # a third would race with the end of the stream in grpc.aio
            yield {"model_name": model, "inputs": [row(1)]}

    answers = []
    try:
        async for result, error in client.stream_infer(requests(), headers={"triton_grpc_error": "true"}):
            answers.append((result, error))
    except grpc.aio.AioRpcError as exc:
        assert exc.details() == "Request for unknown model: 'nobody' is not found"
        assert exc.code() is grpc.StatusCode.NOT_FOUND
    else:
        raise AssertionError(f"the stream went on: {answers}")
    assert len(answers) == 1


def row(number: int) -> triton.InferInput:
    asked = triton.InferInput("x", [1, 3], "FP32")
    asked.set_data_from_numpy(np.full((1, 3), number, np.float32))
    return asked


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

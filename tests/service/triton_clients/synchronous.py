"""tritonclient.grpc, synchronous: `python synchronous.py ADDRESS`. Every call that it has, and what it must answer."""

from __future__ import annotations

import sys
import threading

import ml_dtypes  # comes with tritonclient
import numpy as np
import tritonclient.grpc as triton
from refusals import refused
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for check in (
            *(server_and_models, numbers, strings, half_precision, classification, asynchronous, parameters),
            *(statistics, shared_memory, settings, errors),
        ):
            check(client)
            print("passed", check.__name__)


def server_and_models(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "1")
    assert not client.is_model_ready("nobody")
    metadata = client.get_server_metadata(as_json=True)
    assert metadata["name"] == "triton", metadata
    assert "model_configuration" in metadata["extensions"]
    assert not [name for name in metadata["extensions"] if "shared_memory" in name or name in ("trace", "logging")]
    model = client.get_model_metadata("shades", as_json=True)
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": ["-1", "8", "8", "3"]}], model
    config = client.get_model_config("shades", as_json=True)["config"]
    assert config["input"] == [
        {"name": "image", "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": ["8", "8", "3"]}
    ], config
    assert config["max_batch_size"] == 32
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "shades", "version": "1", "state": "READY"} in index, index


def numbers(client: triton.InferenceServerClient) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for version in ("", "1"):
        result = client.infer("affine", [tensor("x", x)], model_version=version, request_id="seven")
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * x + 1)
        response = result.get_response()
        assert (response.id, response.model_name, response.model_version) == ("seven", "affine", "1")
    a, b = np.array([[0.5, 1.5]], np.float32), np.array([[10, -20]])
    wanted = [triton.InferRequestedOutput("difference"), triton.InferRequestedOutput("sum")]
    result = client.infer("weighted-sum", [tensor("b", b), tensor("a", a)], outputs=wanted)
    assert [output.name for output in result.get_response().outputs] == ["difference", "sum"]
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)


def strings(client: triton.InferenceServerClient) -> None:
    words = np.array([["", "한국어"], ["a\0b", "x" * 300]], dtype=object)
    result = client.infer("words", [tensor("x", words)])
    assert [[word.decode() for word in row] for row in result.as_numpy("y")] == words.tolist()


def half_precision(client: triton.InferenceServerClient) -> None:
    halves = np.array([[0.5, -2.25]], np.float16)
    np.testing.assert_array_equal(client.infer("halves", [tensor("x", halves)]).as_numpy("y"), halves)
    brains = tensor("x", np.array([[1.5, -2.5]], ml_dtypes.bfloat16))
    assert client.infer("brains", [brains]).as_numpy("y").astype(np.float32).tolist() == [[3.0, -5.0]]
    best = [triton.InferRequestedOutput("y", class_count=1)]
    assert client.infer("brains", [brains], outputs=best).as_numpy("y").tolist() == [[b"3.000000:0"]]


def classification(client: triton.InferenceServerClient) -> None:
    images = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (255, 0)])
    wanted = [triton.InferRequestedOutput("logits", class_count=2)]
    result = client.infer("shades", [tensor("image", images)], outputs=wanted).as_numpy("logits")
    assert result.tolist() == [
        [b"4.000000:1:bright", b"-4.000000:0:dark"],
        [b"4.000000:0:dark", b"-4.000000:1:bright"],
    ], result


def asynchronous(client: triton.InferenceServerClient) -> None:
    done, results = threading.Event(), []

    def collect(result: triton.InferResult, error: InferenceServerException | None) -> None:
        results.append(error or float(result.as_numpy("y")[0, 0]))
        if len(results) == 20:
            done.set()

    for number in range(20):
        client.async_infer("affine", [tensor("x", np.full((1, 3), number, np.float32))], callback=collect)
    assert done.wait(10)
    assert sorted(results) == [2.0 * number + 1 for number in range(20)], results


def parameters(client: triton.InferenceServerClient) -> None:
    x = [tensor("x", np.ones((1, 3), np.float32))]
    assert (
        client.infer("affine", x, priority=1, timeout=5_000_000, parameters={"mine": "passed over"}).as_numpy("y").any()
    )
    # A caller's own deadline and the request's timeout are both kept.
    long = [tensor("rounds", np.array([[300_000_000]]))]
    refused(lambda: client.infer("busy", long, timeout=50_000), "the deadline passed", "DEADLINE_EXCEEDED")
    refused(lambda: client.infer("busy", long, client_timeout=0.05), "eadline", "DEADLINE_EXCEEDED")


def statistics(client: triton.InferenceServerClient) -> None:
    everything = client.get_inference_statistics().model_stats
    assert {model.name for model in everything} >= {"affine", "shades", "words"}
    before = client.get_inference_statistics("single").model_stats[0]
    assert before.inference_count == before.execution_count == before.last_inference == 0
    for rows in (1, 3):
        client.infer("single", [tensor("x", np.ones((rows, 3), np.float32))])
    (after,) = client.get_inference_statistics("single", "1").model_stats
    assert (after.inference_count, after.execution_count) == (4, 2), after
    assert [batch.batch_size for batch in after.batch_stats] == [1, 3]
    assert after.last_inference > 1_700_000_000_000
    phases = after.inference_stats
    for phase in (phases.success, phases.queue, phases.compute_input, phases.compute_infer, phases.compute_output):
        assert phase.count == 2
        assert phase.ns > 0
    assert phases.success.ns >= phases.compute_infer.ns
    assert phases.fail.count == 0


def shared_memory(client: triton.InferenceServerClient) -> None:
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    assert client.get_system_shared_memory_status(as_json=True) == {}
    assert client.get_cuda_shared_memory_status(as_json=True) == {}
    text = "shared memory is not supported"
    refused(lambda: client.register_system_shared_memory("mine", "/dev/shm/mine", 64), text)
    refused(lambda: client.register_cuda_shared_memory("mine", b"aGFuZGxl", 0, 64), text)
    asked = triton.InferInput("x", [1, 3], "FP32")
    asked.set_shared_memory("mine", 12)
    refused(lambda: client.infer("affine", [asked]), text)


def settings(client: triton.InferenceServerClient) -> None:
    logged = client.get_log_settings(as_json=True)["settings"]
    assert logged["log_file"] == {"string_param": ""}
    assert logged["log_error"] == {"bool_param": True}
    refused(lambda: client.update_log_settings({"log_file": "/tmp/owned"}), "cannot be changed over the wire")
    assert client.get_trace_settings(as_json=True)["settings"]["trace_level"] == {"value": ["OFF"]}
    client.get_trace_settings("affine")
    refused(lambda: client.update_trace_settings(settings={"trace_file": "/tmp/owned"}), "cannot be changed")


def errors(client: triton.InferenceServerClient) -> None:
    x = np.ones((1, 3), np.float32)
    for request, text, status in (
        (lambda: client.infer("nobody", [tensor("x", x)]), "Request for unknown model: 'nobody' is not found", "NOT_"),
        (
            lambda: client.infer("affine", [tensor("x", x)], model_version="9"),
            "Request for unknown model: 'affine' version 9 is not found",
            "NOT_FOUND",
        ),
        (
            lambda: client.infer("affine", [tensor("x", x)], model_version="new"),
            "failed to get model version from specified version string 'new'",
            "INVALID_ARGUMENT",
        ),
        (
            lambda: client.infer("affine", [tensor("x", x.astype(np.int32))]),
            "inference input 'x' data-type is 'INT32', but model 'affine' expects 'FP32'",
            "INVALID_ARGUMENT",
        ),
        (
            lambda: client.infer("affine", [tensor("x", np.ones((1, 4), np.float32))]),
            "unexpected shape for input 'x' for model 'affine'. Expected [-1,3], got [1,4]",
            "INVALID_ARGUMENT",
        ),
        (
            lambda: client.infer("affine", [tensor("z", x)]),
            "unexpected inference input 'z' for model 'affine'",
            "INVALID_ARGUMENT",
        ),
        (
            lambda: client.infer("weighted-sum", [tensor("a", np.ones((1, 2), np.float32))]),
            "expected 2 inputs but got 1 inputs for model 'weighted-sum'",
            "INVALID_ARGUMENT",
        ),
        (
            lambda: client.infer("affine", [tensor("x", x)], outputs=[triton.InferRequestedOutput("z")]),
            "unexpected inference output 'z' for model 'affine'",
            "INVALID_ARGUMENT",
        ),
        (
            lambda: client.infer("affine", [tensor("x", np.ones((257, 3), np.float32))]),
            "inference request batch-size must be <= 256 for 'affine'",
            "INVALID_ARGUMENT",
        ),
        (lambda: client.get_model_config("nobody"), "Request for unknown model: 'nobody' is not found", "NOT_FOUND"),
        (lambda: client.get_inference_statistics("nobody"), "Request for unknown model: 'nobody'", "NOT_FOUND"),
        (lambda: client.load_model("affine"), "start it with --admin", "PERMISSION_DENIED"),
    ):
        refused(request, text, status)


def tensor(name: str, values: np.ndarray) -> triton.InferInput:
    asked = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    asked.set_data_from_numpy(values)
    return asked


if __name__ == "__main__":
    main(sys.argv[1])

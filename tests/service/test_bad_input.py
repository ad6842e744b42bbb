"""Bad input to the typed API: an error that names field, value and way out, and the next request works."""

from __future__ import annotations

import math

import grpc
import pytest

from menagerie.v1 import model_pb2, model_service_pb2
from menagerie.v1 import prediction_service_pb2 as prediction
from tests.service.calls import Calls, Failure, failure, history, picture
from tests.service.conftest import Serve

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def expect(got: Failure, reason: str, field: str, *words: str, code: grpc.StatusCode = INVALID) -> None:
    """The failure blames this field for this reason, in words that hold all of these."""
    assert (got.code, got.info.reason) == (code, reason)
    assert got.violations[field].reason == reason
    for word in words:
        assert word in got.violations[field].description


async def test_broken_images_are_named_and_the_others_are_not_blamed(calls: Calls) -> None:
    good = picture(200)
    got = await failure(calls.classify_images(good, good[:40], b"", good))
    assert got.code is INVALID
    assert set(got.violations) == {"images[1]", "images[2]"}
    assert got.violations["images[1]"].reason == "IMAGE_INVALID"
    assert got.violations["images[2]"].reason == "IMAGE_EMPTY"
    assert "2 of 4 items" in got.message
    assert got.info.reason == "INVALID_ITEMS"
    assert len((await calls.classify_images(good)).results) == 1


async def test_a_text_file_is_no_image(calls: Calls) -> None:
    got = await failure(calls.classify_images(b"I am no image"))
    expect(got, "IMAGE_INVALID", "images[0]", "13 bytes", "JPEG, PNG")


async def test_a_decompression_bomb_is_not_decoded(serve: Serve) -> None:
    calls = await serve(max_image_pixels=1000)
    got = await failure(calls.classify_images(picture(9, size=(40, 30))))
    expect(got, "IMAGE_TOO_LARGE", "images[0]", "40x30", "limit is 1000")
    assert (await calls.classify_images(picture(9))).results


async def test_empty_texts(calls: Calls) -> None:
    got = await failure(calls.classify_texts("good", "  \n", ""))
    assert {field: item.reason for field, item in got.violations.items()} == {
        "texts[1]": "TEXT_EMPTY",
        "texts[2]": "TEXT_EMPTY",
    }
    assert got.info.reason == "TEXT_EMPTY"
    assert (await calls.classify_texts("good")).results[0].classes[0].label == "glad"


async def test_an_endless_text(calls: Calls) -> None:
    expect(await failure(calls.classify_texts("x" * 100_001)), "TEXT_TOO_LONG", "texts[0]", "100001", "100000")


@pytest.mark.parametrize(
    ("table", "reason", "words"),
    [
        (history([1, math.nan, 3]), "SERIES_NOT_FINITE", ["load[1] is nan"]),
        (history([1, 2, math.inf]), "SERIES_NOT_FINITE", ["load[2] is inf"]),
        (history([1, 2]), "SERIES_TOO_SHORT", ["2 rows", "needs 3"]),
        (history([1, 2, 3], [1, 2]), "SERIES_LENGTHS_DIFFER", ["load 3", "temperature 2"]),
        (prediction.History(columns=[prediction.Column(name="load", values=[1] * 3)]), "SERIES_COLUMN_MISSING", []),
        (prediction.History(), "SERIES_COLUMN_MISSING", ["'load'"]),
        (
            prediction.History(columns=[*history([1, 2, 3]).columns, prediction.Column(name="wind", values=[1] * 3)]),
            "SERIES_COLUMN_UNKNOWN",
            ["'wind'", "'temperature'"],
        ),
        (
            prediction.History(columns=[*history([1, 2, 3]).columns, *history([1, 2, 3]).columns]),
            "SERIES_COLUMN_DUPLICATE",
            ["'load'"],
        ),
    ],
)
async def test_bad_histories(calls: Calls, table: prediction.History, reason: str, words: list[str]) -> None:
    got = await failure(calls.forecast(history([1, 2, 3]), table))
    expect(got, reason, "histories[1].columns", *words)
    assert (await calls.forecast(history([1, 2, 3]))).results


async def test_a_time_beyond_the_calendar(calls: Calls) -> None:
    table = history([1, 2, 3])
    table.end_time.seconds = 253402300799
    expect(await failure(calls.forecast(table)), "INVALID_TIME", "histories[0].end_time", "253402300799")


async def test_no_items_and_too_many(serve: Serve) -> None:
    calls = await serve(max_items_per_request=3)
    expect(await failure(calls.classify_texts()), "NO_ITEMS", "texts", "1 to 3")
    got = await failure(calls.classify_texts(*["good"] * 4))
    expect(got, "TOO_MANY_ITEMS", "texts", "4 items", "limit is 3", "several requests")
    expect(await failure(calls.classify_images()), "NO_ITEMS", "images")
    expect(await failure(calls.forecast()), "NO_ITEMS", "histories")
    assert (await calls.classify_texts(*["good"] * 3)).results


async def test_a_negative_top_k(calls: Calls) -> None:
    expect(await failure(calls.classify_texts("good", top_k=-1)), "INVALID_TOP_K", "top_k", "-1")


async def test_unknown_models_and_versions(calls: Calls) -> None:
    got = await failure(calls.classify_texts("good", model="nobody"))
    assert (got.code, got.info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "'nobody'" in got.message
    assert "moods" in got.message, "the way out"
    got = await failure(calls.classify_texts("good", version=7))
    assert (got.code, got.info.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND")
    assert dict(got.info.metadata) | {"model": "moods", "version": "7"} == dict(got.info.metadata)
    expect(await failure(calls.classify_texts("good", model="")), "MODEL_NAME_MISSING", "model.name", "ListModels")
    expect(await failure(calls.classify_texts("good", version=-1)), "INVALID_VERSION", "model.version", "-1")
    unknown = model_service_pb2.GetModelRequest(model=model_pb2.ModelRef(name="../../etc/passwd"))
    assert (await failure(calls.models.GetModel(unknown))).code is grpc.StatusCode.NOT_FOUND


async def test_another_kind_of_question(calls: Calls) -> None:
    got = await failure(calls.classify_texts("good", model="shades"))
    expect(got, "TASK_MISMATCH", "model.name", "call ClassifyImages")
    got = await failure(calls.forecast(history([1, 2, 3]), model="affine"))
    expect(got, "TASK_MISMATCH", "model.name", "no card", "ModelInfer")


async def test_an_oversized_message(serve: Serve) -> None:
    calls = await serve(max_message_mib=1)
    got = await failure(calls.classify_images(bytes(2**20)))
    expect(
        got,
        "MESSAGE_TOO_LARGE",
        "request",
        "1048576",
        "--max-message-mib",
        "fewer or smaller",
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
    assert (await calls.classify_images(picture(1))).results


async def test_a_message_far_beyond_the_limit_is_refused_by_grpc(serve: Serve) -> None:
    calls = await serve(max_message_mib=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.classify_images(bytes(70 * 2**20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await calls.classify_images(picture(1))).results


async def test_bytes_that_are_no_message(calls: Calls) -> None:
    call = calls.channel.unary_unary("/menagerie.v1.PredictionService/ClassifyTexts")
    got = await failure(call(b"\xff\xff\xff"))
    assert (got.code, got.info.reason) == (INVALID, "MALFORMED_MESSAGE")


async def test_many_violations_fit_into_the_trailing_metadata(calls: Calls) -> None:
    got = await failure(calls.classify_texts(*[" "] * 256))
    assert "256 of 256 items" in got.message
    assert 5 < len(got.violations) < 256
    assert "texts[0]" in got.violations


async def test_long_values_do_not_break_the_error(calls: Calls) -> None:
    got = await failure(calls.classify_texts("good", model="모델" * 2000))
    assert got.code is grpc.StatusCode.NOT_FOUND
    assert got.message.endswith("...")


async def test_a_bug_of_the_server_tells_nothing(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(name: str, version: int) -> None:
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as patched:
        patched.setattr(calls.server.table, "get", stumble)
        got = await failure(calls.classify_texts("good"))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INTERNAL, "UNEXPECTED")
    assert "secret" not in got.message
    assert got.request_id in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text
    assert (await calls.classify_texts("good")).results

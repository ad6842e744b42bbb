"""Golden samples: reproduced through real graphs, and refused where a graph answers something else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.cards import forecast_card, image_card, stateful_card, text_card
from tests.graphs import forecast_graph, image_graph, stateful_forecast_graph, text_graph
from zoo.card import Card, Golden, GoldenSample
from zoo.errors import GoldenError, PackageError
from zoo.golden import check_golden
from zoo.runtime import make_run, open_session


def grey_png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 12), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def brightness(level: int) -> tuple[float, float]:
    bright = float(1 / (1 + np.exp(-16 * (level / 255 - 0.5))))
    return 1 - bright, bright


HISTORY = ((1.0, 20.0), (2.0, 21.0), (3.5, 22.0))
IMAGES = Golden(samples=tuple(GoldenSample(image=grey_png(level), expected=brightness(level)) for level in (0, 130)))
TEXTS = Golden(samples=(GoldenSample(text="good", expected=(0.000335, 0.999665)),), atol=1e-5)
SUMS = Golden(
    samples=(GoldenSample(history=HISTORY, expected=(6.5, 6.5)), GoldenSample(history=HISTORY[:1], expected=(1, 1)))
)
SERIES = Golden(samples=(GoldenSample(history=HISTORY, expected=(3.5, 3.5)),))


@pytest.mark.parametrize(
    ("card", "graph"),
    [
        (image_card(IMAGES), image_graph()),
        (text_card(TEXTS), text_graph()),
        (forecast_card(SERIES), forecast_graph()),
        (stateful_card(SUMS), stateful_forecast_graph()),
    ],
    ids=["image", "text", "series", "state"],
)
def test_a_right_graph_reproduces_its_samples(card: Card, graph: bytes) -> None:
    assert 0 <= check_golden(card, make_run(open_session(graph))) < 0.5


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (GoldenSample(text="bad", expected=(0.4, 0.6)), "golden sample 1: probabilities is [0.99966, 0.00033535]"),
        (GoldenSample(text="bad", expected=(float("nan"), 0.0)), "golden sample 1"),
    ],
)
def test_another_answer_is_refused(sample: GoldenSample, message: str) -> None:
    card = text_card(Golden(samples=(*TEXTS.samples, sample)))
    with pytest.raises(GoldenError) as error:
        check_golden(card, make_run(open_session(text_graph())))
    assert message in str(error.value)


def test_another_number_of_values_is_refused() -> None:
    with pytest.raises(GoldenError, match="probabilities has 3 values each, the card 2"):
        check_golden(text_card(TEXTS), lambda _: {"probabilities": np.full((len(TEXTS.samples), 3), 1 / 3)})


def test_nan_outputs_are_refused() -> None:
    with pytest.raises(GoldenError, match="golden sample 0"):
        check_golden(text_card(TEXTS), lambda _: {"probabilities": np.full((1, 2), np.nan)})


def test_an_output_that_is_not_there_is_named() -> None:
    with pytest.raises(GoldenError, match="no output 'probabilities', which the card promises; it has scores"):
        check_golden(text_card(TEXTS), lambda _: {"scores": np.zeros((1, 2))})


def test_a_file_that_the_runtime_refuses_is_a_package_error() -> None:
    with pytest.raises(PackageError, match="ONNX Runtime refuses it"):
        open_session(b"nonsense")


def test_a_damaged_name_in_a_graph_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PackageError, match="ONNX Runtime refuses it: .*codec can't decode byte 0xff"):
        open_session(text_graph().replace(b"MatMul", b"\xff" * 6))
    assert capfd.readouterr().out == ""

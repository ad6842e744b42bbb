"""Golden samples: does a graph, on the device that runs it, still give what the trained torch model gave?

The history of a model with state is fed row by row, from zero state, as a stream of requests would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zoo.card import (
    FORECAST,
    IMAGE_INPUT,
    PROBABILITIES,
    SERIES_INPUT,
    TEXT_INPUT,
    Card,
    GoldenSample,
    ImageTask,
    SeriesTask,
    Task,
    TextTask,
)
from zoo.errors import GoldenError
from zoo.image import prepare_image
from zoo.text import prepare_text

Tensors = dict[str, NDArray[np.generic]]
Run = Callable[[Tensors], Tensors]
"""Runs a graph: input name to tensor -> output name to tensor. String tensors are object arrays of str."""


def check_golden(card: Card, run: Run) -> float:
    """Run all golden samples, as one batch where the model has no state, and compare.

    Returns:
        The largest error as a fraction of what the card tolerates: 0 is exact, 1 the limit; 0 without samples.

    Raises:
        GoldenError: the error is over the limit, or an output is not finite.
    """
    if not card.golden.samples:
        return 0.0
    output = output_name(card.task)
    answers = _stepped(card, run) if card.state else _output(run(golden_inputs(card)), output)
    got = np.asarray(answers, np.float64).reshape(len(card.golden.samples), -1)
    expected = np.array([sample.expected for sample in card.golden.samples], np.float64)
    if got.shape != expected.shape:
        raise GoldenError(f"golden samples: {output} has {got.shape[1]} values each, the card {expected.shape[1]}")
    limit = card.golden.atol + card.golden.rtol * np.abs(expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(got == expected, 0.0, np.abs(got - expected) / limit)
    index = int(np.argmax(np.nan_to_num(fraction, nan=np.inf).max(axis=1)))
    worst = float(fraction[index].max())
    if not worst <= 1:
        raise GoldenError(
            f"golden sample {index}: {output} is {_shorten(got[index])}, the card expects {_shorten(expected[index])} "
            f"within {card.golden.atol:g} + {card.golden.rtol:g} x value; this device or runtime differs"
        )
    return worst


def golden_inputs(card: Card) -> Tensors:
    """All golden samples as one batch of the graph's inputs; of a model with state, their first steps."""
    values = [_model_input(card.task, sample) for sample in card.golden.samples]
    match card.task:
        case ImageTask():
            return {IMAGE_INPUT: np.stack(values)}
        case TextTask():
            return {TEXT_INPUT: np.array(values, dtype=object)}
        case SeriesTask():
            first = [value[:1] for value in values] if card.state else values
            return {SERIES_INPUT: np.stack(first), **zero_state(card, len(values))}


def zero_state(card: Card, rows: int = 1) -> Tensors:
    """The state before the first step, by graph input: [rows, *shape] each; nothing for a model without state."""
    return {state.input: np.zeros((rows, *state.shape), state.dtype) for state in card.state}


def _stepped(card: Card, run: Run) -> list[NDArray[np.generic]]:
    """The forecast after the last row of each sample."""
    answers = []
    for sample in card.golden.samples:
        state = zero_state(card)
        outputs: Tensors = {}
        for row in sample.history or ():
            outputs = run({SERIES_INPUT: np.array([[row]], np.float32), **state})
            state = {part.input: _output(outputs, part.output) for part in card.state}
        answers.append(_output(outputs, FORECAST))
    return answers


def _output(outputs: Tensors, name: str) -> NDArray[np.generic]:
    if name not in outputs:
        raise GoldenError(f"the graph has no output {name!r}, which the card promises; it has {', '.join(outputs)}")
    return outputs[name]


def output_name(task: Task) -> str:
    """The output that answers the user's question."""
    return FORECAST if isinstance(task, SeriesTask) else PROBABILITIES


def _model_input(task: Task, sample: GoldenSample) -> NDArray[np.generic] | str:
    match task:
        case ImageTask():
            assert sample.image is not None, "the card checks this"
            return prepare_image(sample.image, task.resize)
        case TextTask():
            assert sample.text is not None, "the card checks this"
            return prepare_text(sample.text)
        case SeriesTask():
            return np.array(sample.history, np.float32)


def _shorten(values: NDArray[np.float64]) -> str:
    shown = ", ".join(f"{value:.5g}" for value in values[:5])
    return f"[{shown}{', ...' if len(values) > 5 else ''}]"

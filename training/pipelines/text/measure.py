"""What is measured of a text classifier, on parts of its data and through any implementation of its graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from training.data.texts.batches import TokenDataset, evaluation_batches
from training.data.texts.parts import TextPart, TextParts
from training.data.texts.tokens import Tokenizer, TokenKind
from training.evaluation.calibration import fit_temperature
from training.evaluation.classification import ClassificationReport, classification_report, collect_logits
from training.evaluation.logistic import logistic_accuracy_on_texts
from training.evaluation.naive_bayes import naive_bayes_accuracy
from training.export.gate import BATCH_SIZES, check_batch_independence, check_parity
from training.export.golden import FLOAT_TOLERANCE, choose_samples
from training.export.text import make_torch_run, parity_batches, text_tensor, unknown_token_rate
from training.settings.text import TextSettings
from zoo.card import PROBABILITIES, UNKNOWN_TOKEN_RATE, ColumnStatistics, Golden, GoldenSample
from zoo.golden import Run, Tensors

EVALUATION_BATCH = 256
_GOLDEN_CHARACTERS = 160  # longer texts make the card long and prove no more
_GOLDEN_SAMPLES = 6


def report_on(run: Run, part: TextPart) -> ClassificationReport:
    """Metrics of a graph on a part."""
    return classification_report(run, text_batches(part))


def text_batches(part: TextPart) -> Iterator[tuple[Tensors, Sequence[int]]]:
    """The texts of a part as inputs of a graph, with their classes."""
    for start in range(0, len(part.texts), EVALUATION_BATCH):
        end = start + EVALUATION_BATCH
        yield text_tensor(part.texts[start:end]), part.classes[start:end]


def find_temperature(network: nn.Module, tokenizer: Tokenizer, validation: TextPart) -> float:
    """The temperature that suits the validation part."""
    return fit_temperature(*collect_logits(make_torch_run(network, tokenizer), text_batches(validation)))


def check_graph(expected: Run, run: Run, data: TextParts, max_tokens: int) -> float:
    """Compare the graph with torch, and batches with lone texts; gives the largest relative error."""
    batches = parity_batches(data.test.texts, BATCH_SIZES, max_tokens)
    check_batch_independence(run, batches)
    return check_parity(expected, run, batches)


def simple_answers(settings: TextSettings, data: TextParts) -> dict[str, float]:
    """Test accuracy of the simple answers, by name."""
    majority = np.bincount(data.train.classes).argmax()
    kind: TokenKind = "words" if settings.tokens == "words" else "characters"
    baselines = {
        "naive_bayes": naive_bayes_accuracy(kind, data.train, data.test, len(data.labels)),
        "majority": float(np.mean(np.array(data.test.classes) == majority)),
    }
    if settings.baselines:
        baselines["logistic_regression"] = logistic_accuracy_on_texts(kind, data)
    return baselines


def token_statistics(train: TokenDataset, validation: TokenDataset) -> dict[str, ColumnStatistics]:
    """Number of tokens of a text, and the share of them that is not in the vocabulary.

    The latter of the validation part: the vocabulary is made of the training part's own words, so that it knows more of
    it than of any other text.
    """
    counts = np.array([np.count_nonzero(row) for row in train.ids])
    unknown = torch.cat([unknown_token_rate(ids) for ids, _ in evaluation_batches(validation, EVALUATION_BATCH)])
    return {"tokens": ColumnStatistics.of(counts), UNKNOWN_TOKEN_RATE: ColumnStatistics.of(unknown.numpy())}


def make_golden(expected: Run, test: TextPart) -> Golden:
    """Samples from the test part with the answers of the torch model."""
    short = [row for row, text in enumerate(test.texts) if len(text) <= _GOLDEN_CHARACTERS] or range(len(test.texts))
    texts, classes = [test.texts[row] for row in short], [test.classes[row] for row in short]
    part = TextPart(tuple(texts), tuple(classes))
    probabilities = np.concatenate([expected(inputs)[PROBABILITIES] for inputs, _ in text_batches(part)])
    rows = choose_samples(probabilities, classes, _GOLDEN_SAMPLES)
    samples = tuple(
        GoldenSample(text=texts[row], expected=tuple(float(value) for value in probabilities[row])) for row in rows
    )
    return Golden(samples=samples, atol=FLOAT_TOLERANCE, rtol=FLOAT_TOLERANCE)

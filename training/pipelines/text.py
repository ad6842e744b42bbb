"""From labelled texts to a published classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from training.data.texts.batches import TokenDataset, evaluation_batches, training_batches
from training.data.texts.parts import TextPart, TextParts, read_text_parts
from training.data.texts.saved import read_tokenizer, write_tokenizer
from training.data.texts.tokens import Tokenizer, TokenKind, collision_rate, learn_tokenizer
from training.errors import SettingsError
from training.evaluation.calibration import describe_calibration, fit_temperature
from training.evaluation.classification import ClassificationReport, classification_report, collect_logits
from training.evaluation.logistic import logistic_accuracy_on_texts
from training.evaluation.naive_bayes import NGRAM_ORDERS, naive_bayes_accuracy
from training.export.gate import BATCH_SIZES, check_batch_independence, check_metric, check_parity, publish_checked
from training.export.golden import FLOAT_TOLERANCE, choose_samples
from training.export.provenance import class_shares, describe_run
from training.export.text import export_text, make_torch_run, parity_batches, text_tensor, unknown_token_rate
from training.fit import FitResult, fit
from training.models.adoption import adopt_weights
from training.models.calibrated import Calibrated
from training.models.naive_bayes import Blend, HashedNaiveBayes
from training.models.text import Committee, CommitteeLoss, LogLoss, TextClassifier
from training.models.vectors import load_vectors
from training.pipelines.duplicates import Duplicates, treat_text_duplicates
from training.pipelines.manifests import text_rows
from training.pipelines.origin import Origin, origin_of
from training.processes import is_first_process
from training.runs import TrainingRun, run_name
from training.settings.text import WIDEST_ONE_HOT, TextSettings
from zoo.card import PROBABILITIES, UNKNOWN_TOKEN_RATE, Card, ColumnStatistics, Golden, GoldenSample, TextTask
from zoo.golden import Run, Tensors
from zoo.repository import ModelVersion
from zoo.runtime import make_run, open_session

_EVALUATION_BATCH = 256
_GOLDEN_CHARACTERS = 160  # longer texts make the card long and prove no more
_GOLDEN_SAMPLES = 6


@dataclass(frozen=True)
class TextOutcome:
    """What a run gave."""

    published: ModelVersion
    card: Card
    fit: FitResult
    test: ClassificationReport
    """Of the published graph, through ONNX Runtime."""
    validation: ClassificationReport
    """The same on the part that chose the best epoch."""
    baselines: dict[str, float]
    """Test accuracy of the simple answers, by name."""
    duplicates: Duplicates
    parity: float
    """Largest relative error between torch and ONNX Runtime."""
    run_folder: Path


@dataclass(frozen=True)
class TrainedText:
    """A classifier as torch has it."""

    network: nn.Module
    """Token ids to logits, with the weights of the best epoch."""
    tokenizer: Tokenizer
    train: TokenDataset
    validation: TokenDataset
    fit: FitResult
    origin: Origin | None
    """What it went on from."""
    collision_rate: float | None
    """The share of the training part's different tokens that share their place in a hash; None: there is no hash."""

    @property
    def facts(self) -> dict[str, float]:
        """For the card, beside the test metrics."""
        return {} if self.collision_rate is None else {"hash_collision_rate": round(self.collision_rate, 5)}


def train_text(
    settings: TextSettings,
    *,
    recipe: str = "python -m training text",
    data_name: str = "",
    console: Console | None = None,
) -> TextOutcome:
    """Train, evaluate, export, gate and publish.

    Args:
        settings: of the run.
        recipe: what the card names as its maker.
        data_name: what the card calls the data; default: the names of their files.
        console: for progress; default: standard error.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a model, or the graph fails its golden samples.
    """
    run = TrainingRun(settings, console)
    data = read_text_parts(settings)
    run.say(f"{data.summary}; {data.split}; sha256 {data.sha256[:12]}")
    data, duplicates = treat_text_duplicates(data, settings.duplicates)
    run.say(duplicates.summary(), style="yellow" if duplicates.found else "")
    trained = train_classifier(settings, data, run)
    network, tokenizer = trained.network, trained.tokenizer
    duplicates.write(run.folder)
    uses = run.look_at_test(data.sha256, data.split)
    run.say("evaluating and exporting")
    temperature = _fit_temperature(network, tokenizer, data.validation) if settings.calibrate else None
    if temperature is not None:
        network = Calibrated(network, temperature).eval()
    onnx_bytes = export_text(network, tokenizer)
    expected, exported = make_torch_run(network, tokenizer), make_run(open_session(onnx_bytes))
    parity = _check_graph(expected, exported, data, settings.max_tokens)
    test = report_on(exported, data.test)
    check_metric("accuracy", report_on(expected, data.test).accuracy, test.accuracy)
    baselines = _baselines(settings, data)
    card = Card(
        name=settings.name,
        description=settings.description or f"{len(data.labels)} classes of texts, {_describe(settings)}",
        task=TextTask(labels=data.labels, max_tokens=settings.max_tokens, language=settings.language),
        licence=settings.licence,
        provenance=describe_run(
            settings,
            recipe=recipe,
            data=data_name or ", ".join(path.name for path in settings.data),
            data_sha256=data.sha256,
            split=data.split,
            run=run_name(run.folder),
            test_uses=uses,
            weights_source=_weights_source(settings, trained.origin),
        ),
        test_metrics=test.metrics()
        | duplicates.metrics(test)
        | {f"{name}_accuracy": round(value, 5) for name, value in baselines.items()}
        | trained.facts,
        calibration=None if temperature is None else describe_calibration(temperature, test),
        reference=_token_statistics(trained.train, trained.validation),
        class_shares=class_shares(data.train.classes, data.labels),
        golden=_make_golden(expected, data.test),
    )
    published = publish_checked(onnx_bytes, card, settings.output, settings.name, settings.version)
    validation = report_on(exported, data.validation)
    return TextOutcome(published, card, trained.fit, test, validation, baselines, duplicates, parity, run.folder)


def train_classifier(settings: TextSettings, data: TextParts, run: TrainingRun) -> TrainedText:
    """Train on the training part; the validation part chooses the best epoch, and the weight of naive Bayes."""
    origin = origin_of(run)
    tokenizer = _adopt_tokenizer(settings, origin) if origin else _learn_tokenizer(settings, data.train)
    collisions = _collision_rate(tokenizer, data.train, run)
    train, validation = (_encode(tokenizer, part) for part in (data.train, data.validation))
    network = _build(settings, tokenizer, len(data.labels), run)
    if origin:
        adopt_weights(network, origin.weights(), origin.labels, data.labels)
    run.begin(text_rows(data))
    if is_first_process():
        write_tokenizer(run.folder, tokenizer)
    result = _fit(network, train, validation, settings, run)
    run.end_training()
    network = _blend(network, train, validation, settings, len(data.labels), run)
    return TrainedText(network, tokenizer, train, validation, result, origin, collisions)


def _weights_source(settings: TextSettings, origin: Origin | None) -> str:
    if origin:
        return origin.source
    return "" if settings.vectors is None else f"word vectors {settings.vectors.name}"


def _describe(settings: TextSettings) -> str:
    if settings.network == "convolution":
        return f"convolutions over {_describe_tokens(settings)}"
    direction = "bidirectional " if settings.bidirectional else "reversed " if settings.reverse else ""
    below = "convolutions over " if settings.network == "convolution_recurrent" else ""
    return f"{direction}{settings.cell.upper()} over {below}{_describe_tokens(settings)}"


def _describe_tokens(settings: TextSettings) -> str:
    kind = f"{settings.token_length}-grams of characters" if settings.tokens == "character_ngrams" else settings.tokens
    return kind if settings.encoding == "embedding" else f"{settings.encoding.replace('_', '-')} {kind}"


def _learn_tokenizer(settings: TextSettings, part: TextPart) -> Tokenizer:
    length = settings.token_length if settings.tokens == "character_ngrams" else 1
    if settings.encoding == "hashed_one_hot":
        return Tokenizer(settings.tokens, (), settings.max_tokens, length, settings.one_hot_size)
    tokenizer = learn_tokenizer(
        part.texts,
        settings.tokens,
        max_tokens=settings.max_tokens,
        max_vocabulary=settings.max_vocabulary,
        min_count=settings.min_count,
        length=length,
    )
    if settings.encoding == "one_hot" and (known := len(tokenizer.vocabulary)) > WIDEST_ONE_HOT:
        raise SettingsError(
            f"one-hot vectors of {known} known tokens are too wide, at most {WIDEST_ONE_HOT} are possible; lower "
            "max_vocabulary, raise min_count or take encoding hashed_one_hot"
        )
    return tokenizer


def _adopt_tokenizer(settings: TextSettings, origin: Origin) -> Tokenizer:
    """That of the model to go on from: its vectors are those of its tokens, so new words stay unknown."""
    return replace(read_tokenizer(origin.folder), max_tokens=settings.max_tokens)


def _collision_rate(tokenizer: Tokenizer, part: TextPart, run: TrainingRun) -> float | None:
    """How many of the tokens of the training part the hash makes one; None: a vocabulary makes none one."""
    if not tokenizer.buckets:
        return None
    rate, tokens = collision_rate(tokenizer, part.texts)
    run.say(f"{tokens} different tokens hashed to {tokenizer.buckets} places: {rate:.1%} of them share theirs")
    return rate


def _encode(tokenizer: Tokenizer, part: TextPart) -> TokenDataset:
    return TokenDataset(tokenizer.encode(part.texts), part.classes)


def _build(settings: TextSettings, tokenizer: Tokenizer, classes: int, run: TrainingRun) -> nn.Module:
    members = [
        TextClassifier(
            tokenizer.size,
            classes,
            embedding_size=settings.embedding_size,
            one_hot=settings.encoding != "embedding",
            ngrams=settings.ngrams,
            buckets=settings.buckets,
            network=settings.network,
            convolutions=settings.convolutions,
            kernel=settings.kernel,
            cell=settings.cell,
            hidden_size=settings.hidden_size,
            layers=settings.layers,
            bidirectional=settings.bidirectional,
            reverse=settings.reverse,
            recurrent_dropout=settings.recurrent_dropout,
            dropout=settings.dropout,
            token_dropout=settings.token_dropout,
        )
        for _ in range(settings.members)
    ]
    if settings.vectors is not None:
        found, words = 0, len(tokenizer.vocabulary)
        for member in members:
            assert isinstance(member.tokens, nn.Embedding), "the settings refuse vectors of one-hot tokens"
            found = load_vectors(member.tokens, tokenizer.vocabulary, settings.vectors, frozen=settings.frozen)
        run.say(f"word vectors for {found} of {words} known words ({found / words:.0%})")
    return members[0] if len(members) == 1 else Committee(members)


def _fit(
    network: nn.Module,
    train: TokenDataset,
    validation: TokenDataset,
    settings: TextSettings,
    run: TrainingRun,
) -> FitResult:
    by_loss = settings.monitor == "log_loss"
    return fit(
        network,
        training_batches(train, settings.batch_size, settings.seed, workers=settings.workers),
        evaluation_batches(validation, _EVALUATION_BATCH),
        settings,
        loss=CommitteeLoss(label_smoothing=settings.label_smoothing),
        metric=LogLoss() if by_loss else MulticlassAccuracy(max(train.classes) + 1, average="micro"),
        mode="min" if by_loss else "max",
        run_folder=run.folder,
        resume=run.resumes,
        after_epoch=run.after_epoch,
        console=run.console,
    )


def _blend(
    network: nn.Module,
    train: TokenDataset,
    validation: TokenDataset,
    settings: TextSettings,
    classes: int,
    run: TrainingRun,
) -> nn.Module:
    """The network with naive Bayes beside it, where the settings want that."""
    if not settings.naive_bayes_buckets:
        return network
    naive_bayes = HashedNaiveBayes(NGRAM_ORDERS[settings.tokens], settings.naive_bayes_buckets, classes)
    counted = list(training_batches(train, _EVALUATION_BATCH, settings.seed))
    naive_bayes.fit(counted)
    naive_bayes.refine(counted)
    blend = Blend(network, naive_bayes).eval()
    blend.fit_weights(evaluation_batches(validation, _EVALUATION_BATCH))
    weights = ", ".join(f"{float(weight):.3f}" for weight in blend.weights)
    run.say(f"weights of network and naive Bayes, found on the validation part: {weights}")
    return blend


def _fit_temperature(network: nn.Module, tokenizer: Tokenizer, validation: TextPart) -> float:
    return fit_temperature(*collect_logits(make_torch_run(network, tokenizer), _batches(validation)))


def _check_graph(expected: Run, run: Run, data: TextParts, max_tokens: int) -> float:
    batches = parity_batches(data.test.texts, BATCH_SIZES, max_tokens)
    check_batch_independence(run, batches)
    return check_parity(expected, run, batches)


def report_on(run: Run, part: TextPart) -> ClassificationReport:
    """Metrics of a graph on a part."""
    return classification_report(run, _batches(part))


def _batches(part: TextPart) -> Iterator[tuple[Tensors, Sequence[int]]]:
    for start in range(0, len(part.texts), _EVALUATION_BATCH):
        end = start + _EVALUATION_BATCH
        yield text_tensor(part.texts[start:end]), part.classes[start:end]


def _baselines(settings: TextSettings, data: TextParts) -> dict[str, float]:
    majority = np.bincount(data.train.classes).argmax()
    kind: TokenKind = "words" if settings.tokens == "words" else "characters"
    baselines = {
        "naive_bayes": naive_bayes_accuracy(kind, data.train, data.test, len(data.labels)),
        "majority": float(np.mean(np.array(data.test.classes) == majority)),
    }
    if settings.baselines:
        baselines["logistic_regression"] = logistic_accuracy_on_texts(kind, data)
    return baselines


def _token_statistics(train: TokenDataset, validation: TokenDataset) -> dict[str, ColumnStatistics]:
    """Number of tokens of a text, and the share of them that is not in the vocabulary.

    The latter of the validation part: the vocabulary is made of the training part's own words, so that it knows more of
    it than of any other text.
    """
    counts = np.array([np.count_nonzero(row) for row in train.ids])
    unknown = torch.cat([unknown_token_rate(ids) for ids, _ in evaluation_batches(validation, _EVALUATION_BATCH)])
    return {"tokens": ColumnStatistics.of(counts), UNKNOWN_TOKEN_RATE: ColumnStatistics.of(unknown.numpy())}


def _make_golden(expected: Run, test: TextPart) -> Golden:
    """Samples from the test part with the answers of the torch model."""
    short = [row for row, text in enumerate(test.texts) if len(text) <= _GOLDEN_CHARACTERS] or range(len(test.texts))
    texts, classes = [test.texts[row] for row in short], [test.classes[row] for row in short]
    part = TextPart(tuple(texts), tuple(classes))
    probabilities = np.concatenate([expected(inputs)[PROBABILITIES] for inputs, _ in _batches(part)])
    rows = choose_samples(probabilities, classes, _GOLDEN_SAMPLES)
    samples = tuple(
        GoldenSample(text=texts[row], expected=tuple(float(value) for value in probabilities[row])) for row in rows
    )
    return Golden(samples=samples, atol=FLOAT_TOLERANCE, rtol=FLOAT_TOLERANCE)

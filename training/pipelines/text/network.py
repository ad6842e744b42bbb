"""From settings and texts to a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich.progress import track
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from training.data.texts.batches import TokenDataset, evaluation_batches, training_batches
from training.data.texts.parts import TextPart, TextParts
from training.data.texts.saved import read_tokenizer, write_tokenizer
from training.data.texts.tokens import Tokenizer, collision_rate, learn_hashing, learn_tokenizer
from training.errors import SettingsError
from training.evaluation.naive_bayes import LETTER_ORDERS, NGRAM_ORDERS
from training.export.tables import round_tables
from training.fit import FitResult, fit
from training.fit.rdrop import RDropLoss, see_twice
from training.models.adoption import adopt_weights
from training.models.hangul import HangulLetters, HangulVectors
from training.models.naive_bayes import Blend, HashedNaiveBayes
from training.models.text import Committee, CommitteeLoss, LogLoss, TextClassifier
from training.models.vectors import load_vectors
from training.pipelines.duplicates import check_validation
from training.pipelines.manifests import text_rows
from training.pipelines.origin import Origin, origin_of
from training.pipelines.text.measure import EVALUATION_BATCH
from training.pipelines.text.pretrain import pretrain
from training.processes import is_first_process
from training.runs import TrainingRun
from training.settings.text import WIDEST_ONE_HOT, TextSettings


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


def train_classifier(settings: TextSettings, data: TextParts, run: TrainingRun) -> TrainedText:
    """Train on the training part; the validation part chooses the best epoch, and the weight of naive Bayes.

    Raises:
        DataError: there is no validation part.
    """
    check_validation(data.validation.texts)
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
    if settings.pretrain_epochs:
        pretrain(network, train, validation, settings, run)
    result = _fit(network, train, validation, settings, run)
    run.end_training()
    network = _blend(network, train, validation, settings, tokenizer.vocabulary, len(data.labels), run)
    if settings.half_tables:
        round_tables(network)
    return TrainedText(network, tokenizer, train, validation, result, origin, collisions)


def _learn_tokenizer(settings: TextSettings, part: TextPart) -> Tokenizer:
    length = settings.token_length if settings.tokens == "character_ngrams" else 1
    if settings.encoding == "hashed_one_hot":
        return learn_hashing(
            part.texts,
            settings.tokens,
            max_tokens=settings.max_tokens,
            buckets=settings.one_hot_size,
            length=length,
        )
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
            hangul=_hangul(settings, tokenizer),
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


def _hangul(settings: TextSettings, tokenizer: Tokenizer) -> HangulVectors | None:
    if not settings.hangul:
        return None
    return HangulVectors(
        tokenizer.vocabulary, settings.embedding_size, ngrams=settings.ngrams, buckets=settings.buckets
    )


def _fit(
    network: nn.Module,
    train: TokenDataset,
    validation: TokenDataset,
    settings: TextSettings,
    run: TrainingRun,
) -> FitResult:
    by_loss = settings.monitor == "log_loss"
    loss: nn.Module = CommitteeLoss(label_smoothing=settings.label_smoothing)
    if settings.r_drop:
        loss = RDropLoss(loss, settings.r_drop)
    return fit(
        network,
        training_batches(train, settings.batch_size, settings.seed, workers=settings.workers),
        evaluation_batches(validation, EVALUATION_BATCH),
        settings,
        loss=loss,
        metric=LogLoss() if by_loss else MulticlassAccuracy(max(train.classes) + 1, average="micro"),
        mode="min" if by_loss else "max",
        prepare=see_twice if settings.r_drop else None,
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
    vocabulary: Sequence[str],
    classes: int,
    run: TrainingRun,
) -> nn.Module:
    """The network with naive Bayes beside it, where the settings want that."""
    if not settings.naive_bayes_buckets:
        return network
    orders, spell = NGRAM_ORDERS[settings.tokens], None
    if settings.hangul:
        orders, spell = LETTER_ORDERS, HangulLetters(vocabulary)
    naive_bayes = HashedNaiveBayes(orders, settings.naive_bayes_buckets, classes, spell=spell)
    counted, held_out = (list(evaluation_batches(part, EVALUATION_BATCH)) for part in (train, validation))
    run.say("counting and weighing n-grams for naive Bayes")
    naive_bayes.fit(counted)
    penalty = naive_bayes.refine(
        *(counted, held_out), track=partial(track, description="weighing", console=run.console, transient=True)
    )
    blend = Blend(network, naive_bayes).eval()
    blend.fit_weights(held_out)
    weights = ", ".join(f"{float(weight):.3f}" for weight in blend.weights)
    run.say(f"found on the validation part: weights of network and naive Bayes {weights}, penalty {penalty:g}")
    return blend

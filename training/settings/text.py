"""Settings of a text classification run; without torch, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from training.settings.classifier import ClassifierSettings

WIDEST_ONE_HOT = 2048
"""A batch of 256 texts of 256 tokens is half a gigabyte then."""


class TextSettings(ClassifierSettings):
    """A run that ends in a published text classifier."""

    task_kind: ClassVar[str] = "text_classification"

    data: list[Path] = Field(min_length=1)
    """Labelled texts, UTF-8: `text TAB label` lines, or tables (.csv comma, others tab) with a header."""
    validation_file: Path | None = None
    """Labelled texts for early stopping; default: a share of the data."""
    text_column: str | None = None
    """Column of the texts; default: text, document, sentence, review or comment."""
    label_column: str | None = None
    """Column of the labels; default: label, class, sentiment, category or target."""
    label_names: str = ""
    """Names to publish for the labels, comma separated, in the labels' order (numbers by value, words by alphabet)."""
    language: str = ""
    """BCP 47 tag of the texts, such as ko; goes into the card."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the data for early stopping, where there is no validation file."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the data for the test, never used in training."""

    tokens: Literal["words", "characters", "character_ngrams"] = "words"
    """What the network reads; characters suit languages that glue words together. character_ngrams: at each character
    what ends there."""
    token_length: int = Field(default=3, ge=2, le=5)
    """Characters of a token, of tokens character_ngrams."""
    encoding: Literal["embedding", "one_hot", "hashed_one_hot"] = "embedding"
    """What a token is to the network: a vector that it learns, a 1 at a place of its own, or a 1 at the place that its
    hash names, which takes no vocabulary; how many tokens share a place is printed."""
    one_hot_size: int = Field(default=1024, ge=2, le=WIDEST_ONE_HOT)
    """Places of hashed_one_hot."""
    max_tokens: int = Field(default=256, ge=1, le=100_000)
    """Texts are cut behind this many tokens."""
    max_vocabulary: int = Field(default=20_000, ge=1)
    """Know at most this many tokens, the most frequent ones."""
    min_count: int = Field(default=2, ge=1)
    """Know only tokens that occur this often in the training part."""
    ngrams: int = Field(default=1, ge=1, le=5)
    """Also embed the 2-, .. n-grams of tokens, hashed."""
    buckets: int = Field(default=16_384, ge=2)
    """Size of the table that the n-grams of one length are hashed into."""
    hangul: bool = False
    """Also embed the letters of Korean syllables, and the n-grams of syllables without their final consonants; naive
    Bayes counts n-grams of letters then."""
    half_tables: bool = False
    """Round the tables of vectors, and that of naive Bayes, to half precision after the training: half the file."""
    vectors: Path | None = None
    """Word vectors to start from, JSON {"vectors": {word: [numbers]}} or lines `word number number ..` (GloVe,
    word2vec); reduced to embedding_size."""
    frozen: bool = False
    """Keep the word vectors as they are; words without one are then all alike, as unknown words are."""

    network: Literal["recurrent", "convolution", "convolution_recurrent"] = "recurrent"
    """Recurrent layers, convolutions along the text, or recurrent layers over what convolutions give."""
    convolutions: int = Field(default=2, ge=1, le=10)
    """Stacked convolutions; each looks twice as far as the one before (dilation 1, 2, 4, ..)."""
    kernel: int = Field(default=3, ge=1, le=15)
    """Tokens that a convolution looks at; odd."""
    cell: Literal["rnn", "lstm", "gru"] = "gru"
    """Kind of recurrent cell."""
    embedding_size: int = Field(default=64, ge=1)
    """Width of a token's vector."""
    hidden_size: int = Field(default=96, ge=1)
    """Width of the recurrent state, per direction, and of the convolutions."""
    layers: int = Field(default=1, ge=1)
    """Stacked recurrent layers."""
    bidirectional: bool = True
    """Read the text in both directions."""
    reverse: bool = False
    """Read the text from its end only; with --no-bidirectional."""
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the recurrent state between tokens, one mask for all of them."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout before the last layer and between recurrent layers."""
    token_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Chance that a token is hidden, in training."""
    pretrain_epochs: int = Field(default=0, ge=0)
    """Passes over the training texts before any label is looked at, in which the network learns to guess hidden tokens
    from their neighbours."""
    members: int = Field(default=1, ge=1, le=20)
    """Train this many networks side by side and publish their average; helps where data are few."""
    naive_bayes_buckets: int = Field(default=0, ge=0)
    """Add the evidence of naive Bayes over n-grams, hashed into so many buckets, with a weight found on the validation
    part; 0: do not."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the probability that the loss spreads over all classes."""
    r_drop: float = Field(default=0.0, ge=0)
    """Weight in the loss of how far two passes of a text through the network differ, each with dropout of its own
    (R-Drop); 0.5 to 2 is usual, and a step takes twice the time."""

    # Of FitSettings, with what suits recurrent networks.
    epochs: int = Field(default=10, ge=1)
    """At most this many passes over the training part; early stopping usually ends before."""
    batch_size: int = Field(default=128, ge=1)
    """Texts per step, of similar length."""
    learning_rate: float = Field(default=2e-3, gt=0, le=1e6)
    """Peak rate of AdamW."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay; biases are left out."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Clip gradients at this norm."""
    monitor: Literal["log_loss", "accuracy"] = "log_loss"
    """What decides on the validation part which epoch is best; log loss is steadier where that part is small."""
    patience: int = Field(default=3, ge=1)
    """Stop after this many epochs without a better validation score."""

    @model_validator(mode="after")
    def _network_is_possible(self) -> TextSettings:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} has no middle; take an odd number")
        if self.reverse and self.bidirectional:
            raise ValueError("reverse is for one direction; add --no-bidirectional")
        if self.frozen and self.vectors is None:
            raise ValueError("frozen keeps word vectors as they are; give some with vectors")
        return self

    @model_validator(mode="after")
    def _one_hot_has_no_tables(self) -> TextSettings:
        if self.encoding != "embedding" and self.ngrams > 1:
            raise ValueError(f"ngrams {self.ngrams} adds learned vectors; leave it out with encoding {self.encoding}")
        if self.encoding != "embedding" and self.vectors is not None:
            raise ValueError(f"vectors are for encoding embedding, not for {self.encoding}")
        return self

    @model_validator(mode="after")
    def _guessed_tokens_have_vectors(self) -> TextSettings:
        if self.pretrain_epochs and (self.encoding != "embedding" or self.frozen):
            raise ValueError(
                "pretrain_epochs teaches the vectors of tokens; use it with encoding embedding, and not with frozen"
            )
        return self

    @model_validator(mode="after")
    def _letters_are_of_characters(self) -> TextSettings:
        if self.hangul and (self.tokens != "characters" or self.encoding != "embedding"):
            raise ValueError("hangul is of characters that are embedded; use it with tokens characters")
        return self

    @model_validator(mode="after")
    def _vectors_are_of_words(self) -> TextSettings:
        if self.vectors is not None and self.tokens != "words":
            raise ValueError("vectors are of words; use them with tokens words")
        return self

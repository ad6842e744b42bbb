"""The card: what a model file says about itself, JSON in the file's `metadata_props` under `CARD_KEY`.

The graph of a carded model takes raw user input and has fixed tensor names, so that a reader of the card knows how to
call it:

    task                  input                              outputs
    image_classification  image    uint8   [N, H, W, 3]      probabilities float32 [N, K], logits float32 [N, K]
    text_classification   text     string  [N]               probabilities float32 [N, K], logits float32 [N, K]
    forecast              history  float32 [N, T, F]         forecast      float32 [N, H, targets]

An image classifier may have an output more, `class_activation` float32 [N, h, w]: what each place of the image speaks
for the most probable class, h x w places in rows from the top left. A text classifier may have one more,
`unknown_token_rate` float32 [N]: how much of each text it cannot read.
A forecaster may keep state between steps (`Card.state`): its graph takes one row at a time, [N, 1, F], and has an input
and an output more for every tensor of the state.
"""

from zoo.card.document import Card, parse_card
from zoo.card.history import Calibration, Provenance
from zoo.card.samples import Golden, GoldenSample
from zoo.card.statistics import ColumnStatistics, Distribution
from zoo.card.tasks import (
    CHANNELS,
    CLASS_ACTIVATION,
    FORECAST,
    IMAGE_INPUT,
    LOGITS,
    PROBABILITIES,
    SERIES_INPUT,
    TEXT_INPUT,
    UNKNOWN_TOKEN_RATE,
    ImageTask,
    PredictionInterval,
    Quantity,
    Resize,
    SeriesTask,
    StateTensor,
    Task,
    TextTask,
)

CARD_KEY = "menagerie.card"

__all__ = [
    "CARD_KEY",
    "CHANNELS",
    "CLASS_ACTIVATION",
    "FORECAST",
    "IMAGE_INPUT",
    "LOGITS",
    "PROBABILITIES",
    "SERIES_INPUT",
    "TEXT_INPUT",
    "UNKNOWN_TOKEN_RATE",
    "Calibration",
    "Card",
    "ColumnStatistics",
    "Distribution",
    "Golden",
    "GoldenSample",
    "ImageTask",
    "PredictionInterval",
    "Provenance",
    "Quantity",
    "Resize",
    "SeriesTask",
    "StateTensor",
    "Task",
    "TextTask",
    "parse_card",
]

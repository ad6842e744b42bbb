"""The bundled model `sentiment-ko`: Korean film reviews, a bidirectional GRU over characters and n-gram evidence.

    python -m training.recipes.sentiment_ko --data ../shared/data --output zoo/bundled

Accuracy on 8,000 reviews held out from ratings_train / on the 10,000 of ratings_valid, which chose epoch and weights:

    GRU over characters and their pairs                          0.8505 / 0.8582
    naive Bayes over 2- and 3-grams                              0.8490 /
    both, evidence as counted                                    0.8539 / 0.8647
    both, evidence weighed by regression (the bundled file)      0.8568 / 0.8682
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.settings.text import TextSettings

DATA = Path("../shared/data")
OUTPUT = Path("zoo/bundled")


def settings(data: Path = DATA, output: Path = OUTPUT) -> TextSettings:
    """The run that made the bundled model."""
    return TextSettings(
        data=[data / "nsmc_ko" / "ratings_train.txt"],
        validation_file=data / "nsmc_ko" / "ratings_valid.txt",
        output=output,
        name="sentiment-ko",
        description="Is a Korean film review negative or positive?",
        licence="Apache-2.0; data and golden sentences CC0-1.0 (NSMC)",
        label_names="negative,positive",
        language="ko",
        test_share=0.1,
        tokens="characters",
        max_tokens=160,  # the longest review has about 150 characters
        min_count=3,
        ngrams=2,
        buckets=2**14,
        naive_bayes_buckets=2**17,
        embedding_size=48,
        hidden_size=96,
        dropout=0.5,
        token_dropout=0.3,
        batch_size=128,
        learning_rate=3e-3,
        epochs=4,
        monitor="accuracy",
        patience=4,
    )


def main(
    data: Annotated[Path, typer.Option(help="The folder of data sets.")] = DATA,
    output: Annotated[Path, typer.Option(help="Model repository to publish to.")] = OUTPUT,
) -> None:
    """Train and publish the bundled model `sentiment-ko`."""
    from training.pipelines.text import train_text
    from training.reports.tables import print_text_run

    outcome = train_text(
        settings(data, output),
        recipe="python -m training.recipes.sentiment_ko",
        data_name="nsmc_ko: 90,000 reviews of the Naver sentiment movie corpus, no film in both files",
    )
    print_text_run(outcome, output, Console())


if __name__ == "__main__":
    typer.run(main)

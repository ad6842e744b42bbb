"""The bundled model `sentiment-en`: English reviews, five small GRUs over words, with naive Bayes beside them.

    python -m training.recipes.sentiment_en --data ../shared/data --output zoo/bundled

`--splits N` publishes nothing: it repeats the run on N other splits and compares with naive Bayes, since a single test
part of 400 sentences says little. Accuracy of this model, of naive Bayes over words and pairs, and the difference:

    the bundled file                                     0.8500  0.8150  +0.0350
    8 other splits                                       0.8450  0.8281  +0.0169 +- 0.0045
    6 other splits, evidence as counted, not weighed     0.8192  0.8262  -0.0071 +- 0.0051 (not better: dropped)

The last row is of an earlier order of the items; there the row above was +0.0128 +- 0.0056, and the file had 0.8575.

Known weakness: negations that the 1,400 training sentences do not show, such as "not bad at all".
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from training.settings.text import TextSettings

DATA = Path("../shared/data")
OUTPUT = Path("zoo/bundled")
RECIPE = "python -m training.recipes.sentiment_en"


def settings(data: Path = DATA, output: Path = OUTPUT, seed: int = 0) -> TextSettings:
    """The run that made the bundled model."""
    sentences = data / "uci_sentiment_sentences"
    return TextSettings(
        data=[sentences / "amazon_cells_labelled.txt", sentences / "yelp_labelled.txt"],
        output=output,
        name="sentiment-en",
        description="Is an English review of a product or a restaurant negative or positive?",
        licence="Apache-2.0; data and golden sentences CC-BY-4.0 (Kotzias et al., KDD 2015); word vectors MIT",
        label_names="negative,positive",
        language="en",
        test_share=0.2,
        max_tokens=64,  # the longest sentence has half of that
        min_count=1,
        vectors=data / "word_vectors" / "wordvecs1000.json",
        embedding_size=64,
        hidden_size=48,
        members=5,
        naive_bayes_buckets=2**17,
        dropout=0.5,
        token_dropout=0.3,
        label_smoothing=0.05,
        batch_size=32,
        epochs=10,
        patience=10,
        seed=seed,
    )


def compare_splits(data: Path, splits: int, console: Console) -> None:
    """Repeat the run on splits 1 .. `splits` and print accuracy beside that of naive Bayes."""
    from training.pipelines.text import train_text

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, splits + 1):
            chosen = settings(data, Path(folder) / "zoo", seed).model_copy(update={"runs": Path(folder) / "runs"})
            outcome = train_text(chosen, recipe=RECIPE)
            rows.append((outcome.test.accuracy, outcome.baselines["naive_bayes"]))
            console.print(f"split {seed}: this model {rows[-1][0]:.4f}, naive Bayes {rows[-1][1]:.4f}")
    ours, bayes = np.array(rows).T
    error = (ours - bayes).std(ddof=1) / np.sqrt(splits) if splits > 1 else float("nan")
    console.print(
        f"{splits} splits: this model {ours.mean():.4f}, naive Bayes {bayes.mean():.4f}, "
        f"difference {(ours - bayes).mean():+.4f} +- {error:.4f} (standard error)"
    )


def main(
    data: Annotated[Path, typer.Option(help="The folder of data sets.")] = DATA,
    output: Annotated[Path, typer.Option(help="Model repository to publish to.")] = OUTPUT,
    splits: Annotated[int, typer.Option(help="Compare on so many other splits instead of publishing.", min=0)] = 0,
) -> None:
    """Train and publish the bundled model `sentiment-en`."""
    from training.pipelines.text import train_text
    from training.reports.tables import print_text_run

    console = Console()
    if splits:
        compare_splits(data, splits, console)
        return
    outcome = train_text(
        settings(data, output),
        recipe=RECIPE,
        data_name="UCI sentiment labelled sentences: 2,000 of Amazon and Yelp",
    )
    print_text_run(outcome, output, console)


if __name__ == "__main__":
    typer.run(main)

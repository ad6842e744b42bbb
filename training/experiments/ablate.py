"""Ablation: what each ingredient of a way of training gives, by leaving out one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from training.errors import SettingsError
from training.evaluation.repeats import Repeated, repeated
from training.experiments.ingredients import Ingredient, read_ingredient
from training.experiments.tasks import LOWER_IS_BETTER, Task
from training.experiments.trials import Experiment, Score
from training.settings.experiments import AblationSettings

SCORES_FILE, CONTRIBUTIONS_FILE = "scores.csv", "contributions.csv"
EVERYTHING = Ingredient("", {})
"""Nothing is left out."""


@dataclass(frozen=True)
class Contribution:
    """What an ingredient gives."""

    ingredient: Ingredient
    without: Repeated
    """The score without it."""
    gain: Repeated
    """By how much the score is better with it than without, over pairs of trainings with the same seed."""


@dataclass(frozen=True)
class Ablation:
    """What an ablation gave."""

    metric: str
    everything: Repeated
    """The score with all ingredients."""
    contributions: tuple[Contribution, ...]
    """The largest gain first."""
    seeds: int
    folder: Path


def ablate(settings: AblationSettings, task: Task[Any], console: Console | None = None) -> Ablation:
    """Train with everything and without each ingredient, with several seeds each, and compare on the validation part.

    The split is that of the first seed in all trainings; the others change initial weights, order and augmentation.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a folder.
    """
    ingredients = [read_ingredient(text, settings, task.kind) for text in settings.without]
    _check_apart(ingredients)
    experiment = Experiment(settings, task, console)
    total = settings.seeds * (1 + len(ingredients))
    scores: dict[str, list[Score]] = {}
    for ingredient in [EVERYTHING, *ingredients]:
        done = len(scores) * settings.seeds
        experiment.say(
            f"\n{ingredient.words}: trainings {done + 1} to {done + settings.seeds} of {total}", style="bold"
        )
        scores[ingredient.name] = _scores(experiment, task, settings, ingredient)
        experiment.tell_left(total - done - settings.seeds)
        rows = [{"trial": score.trial, **score.metrics} for found in scores.values() for score in found]
        experiment.write_table(SCORES_FILE, rows)
    experiment.end()
    outcome = _compare(scores, ingredients, settings.seeds, experiment.folder)
    experiment.write_table(CONTRIBUTIONS_FILE, map(_row, outcome.contributions))
    return outcome


def _scores(experiment: Experiment, task: Task[Any], settings: AblationSettings, ingredient: Ingredient) -> list[Score]:
    """One per seed."""
    all_same_split = settings.of_run(task.kind, **ingredient.without)
    data = experiment.read(all_same_split)
    found = []
    for seed in range(all_same_split.seed, all_same_split.seed + settings.seeds):
        chosen = all_same_split.model_copy(update={"seed": seed})
        found.append(experiment.score(f"{ingredient.trial}-seed-{seed}", chosen, data))
        experiment.say(f"seed {seed}: {found[-1].headline} {found[-1].value:.4f}")
    return found


def _compare(scores: dict[str, list[Score]], ingredients: list[Ingredient], seeds: int, folder: Path) -> Ablation:
    full = scores[EVERYTHING.name]
    metric = full[0].headline
    sign = -1 if metric in LOWER_IS_BETTER else 1
    contributions = []
    for ingredient in ingredients:
        others = scores[ingredient.name]
        gains = [sign * (one.value - other.metrics[metric]) for one, other in zip(full, others, strict=True)]
        without = repeated([other.metrics[metric] for other in others])
        contributions.append(Contribution(ingredient, without, repeated(gains)))
    contributions.sort(key=lambda contribution: -contribution.gain.mean)
    return Ablation(metric, repeated([score.value for score in full]), tuple(contributions), seeds, folder)


def _row(contribution: Contribution) -> dict[str, object]:
    gain = contribution.gain
    low, high = gain.interval or ("", "")
    return {
        "ingredient": contribution.ingredient.name,
        "score_without": contribution.without.mean,
        "gain": gain.mean,
        "gain_low": low,
        "gain_high": high,
        "p_value": "" if gain.p_value is None else gain.p_value,
    }


def _check_apart(ingredients: list[Ingredient]) -> None:
    trials = [ingredient.trial for ingredient in ingredients]
    for ingredient in ingredients:
        if trials.count(ingredient.trial) > 1:
            raise SettingsError(f"--without {ingredient.name} is given twice")

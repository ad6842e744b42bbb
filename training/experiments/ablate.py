"""Ablation: what each ingredient of a way of training gives, by leaving out one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from training.errors import DivergedError, SettingsError
from training.evaluation.repeats import Repeated, repeated
from training.experiments.ingredients import Ingredient, read_ingredient
from training.experiments.tasks import LOWER_IS_BETTER, Task
from training.experiments.trials import Experiment, Score
from training.settings.classifier import ClassifierSettings
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
    diverged: int
    """Trainings without it that diverged; they are not among these pairs."""


@dataclass(frozen=True)
class Ablation:
    """What an ablation gave."""

    metric: str
    everything: Repeated
    """The score with all ingredients."""
    contributions: tuple[Contribution, ...]
    """What diverges without, then the largest gain first."""
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
    scores: dict[str, list[Score | None]] = {}
    for ingredient in [EVERYTHING, *ingredients]:
        done = len(scores) * settings.seeds
        experiment.say(
            f"\n{ingredient.words}: trainings {done + 1} to {done + settings.seeds} of {total}", style="bold"
        )
        scores[ingredient.name] = _scores(experiment, task, settings, ingredient)
        experiment.tell_left(total - done - settings.seeds)
        rows = [{"trial": score.trial, **score.metrics} for found in scores.values() for score in found if score]
        experiment.write_table(SCORES_FILE, rows)
    experiment.end()
    outcome = _compare(scores, ingredients, settings.seeds, experiment.folder)
    experiment.write_table(CONTRIBUTIONS_FILE, map(_row, outcome.contributions))
    return outcome


def _scores(
    experiment: Experiment, task: Task[Any], settings: AblationSettings, ingredient: Ingredient
) -> list[Score | None]:
    """One per seed; None: it diverged without the ingredient."""
    all_same_split = settings.of_run(task.kind, **ingredient.without)
    data = experiment.read(all_same_split)
    found: list[Score | None] = []
    split = {"split_seed": all_same_split.seed_of_split} if isinstance(all_same_split, ClassifierSettings) else {}
    for seed in range(all_same_split.seed, all_same_split.seed + settings.seeds):
        chosen = all_same_split.model_copy(update={"seed": seed, **split})
        try:
            score = experiment.score(f"{ingredient.trial}-seed-{seed}", chosen, data)
        except DivergedError as exc:
            if ingredient is EVERYTHING:
                raise
            experiment.say(f"seed {seed}: {exc}", style="yellow")
            found.append(None)
            continue
        found.append(score)
        experiment.say(f"seed {seed}: {score.headline} {score.value:.4f}")
    return found


def _compare(
    scores: dict[str, list[Score | None]], ingredients: list[Ingredient], seeds: int, folder: Path
) -> Ablation:
    full = [score for score in scores[EVERYTHING.name] if score]
    metric = full[0].headline
    sign = -1 if metric in LOWER_IS_BETTER else 1
    contributions = []
    for ingredient in ingredients:
        pairs = [
            (one.value, other.metrics[metric])
            for one, other in zip(full, scores[ingredient.name], strict=True)
            if other is not None
        ]
        without, gain = (
            repeated([other for _, other in pairs]),
            repeated([sign * (one - other) for one, other in pairs]),
        )
        contributions.append(Contribution(ingredient, without, gain, seeds - len(pairs)))
    contributions.sort(key=lambda contribution: (-contribution.diverged, -contribution.gain.mean))
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
        "diverged": contribution.diverged,
    }


def _check_apart(ingredients: list[Ingredient]) -> None:
    trials = [ingredient.trial for ingredient in ingredients]
    for ingredient in ingredients:
        if trials.count(ingredient.trial) > 1:
            raise SettingsError(f"--without {ingredient.name} is given twice")

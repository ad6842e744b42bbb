"""Experiments with text classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from training.data.groups import class_folds
from training.data.texts.parts import TextPart, TextParts, read_text_parts
from training.experiments.tasks import Validated, classifier_answers, classifier_metrics, describe_folds
from training.export.text import make_torch_run
from training.pipelines.duplicates import Duplicates, treat_text_duplicates
from training.pipelines.text import report_on, train_classifier
from training.runs import TrainingRun
from training.settings.text import TextSettings


class TextTask:
    """See `training.experiments.tasks.Task`. What was found to be near-duplicates is kept for the next training."""

    kind = TextSettings

    def __init__(self) -> None:
        self._kept: tuple[object, tuple[TextParts, Duplicates]] | None = None

    def read(self, settings: TextSettings, run: TrainingRun) -> TextParts:
        """Read and split by class."""
        data = read_text_parts(settings)
        run.say(f"{data.summary}; {data.split}; sha256 {data.sha256[:12]}")
        return data

    def metric(self, settings: TextSettings) -> str:
        """Log loss or accuracy."""
        return settings.monitor

    def sha256(self, data: TextParts) -> str:
        """Over the files."""
        return data.sha256

    def clean(self, settings: TextSettings, data: TextParts, run: TrainingRun) -> TextParts:
        """Without texts that are nearly those of a held-out part."""
        key = (data, settings.duplicates)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, treat_text_duplicates(data, settings.duplicates)
        cleaned, found = self._kept[1]
        run.say(found.summary(), style="yellow" if found.found else "")
        return cleaned

    def folds(self, settings: TextSettings, data: TextParts, count: int) -> list[TextParts]:
        """Stratified by class; groups stay together."""
        texts = data.train.texts + data.validation.texts
        classes = data.train.classes + data.validation.classes
        groups = data.train.groups + data.validation.groups

        def take(places: Sequence[int]) -> TextPart:
            return TextPart(tuple(texts[place] for place in places), tuple(classes[place] for place in places))

        cut = []
        folds = class_folds(classes, groups, count, seed=settings.seed_of_split, names=data.labels)
        for number, fold in enumerate(folds, 1):
            others = sorted(set(range(len(texts))) - set(fold))
            words = f"fold {number} of {count}, {describe_folds(settings)}"
            cut.append(replace(data, train=take(others), validation=take(fold), split=words))
        return cut

    def validate(self, settings: TextSettings, data: TextParts, run: TrainingRun) -> Validated:
        """Learn a tokenizer from the training part, then train."""
        trained = train_classifier(settings, data, run)
        report = report_on(make_torch_run(trained.network, trained.tokenizer), data.validation)
        metrics = classifier_metrics(report, settings.monitor)
        return Validated(trained.fit, metrics, classifier_answers(report, data.validation.texts, data.labels))

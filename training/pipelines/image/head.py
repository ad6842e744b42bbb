"""Training the last layer alone, on features that are computed once."""

from __future__ import annotations

from pathlib import Path

from torch.utils.data import TensorDataset

from training.data.images import EvaluationImages
from training.fit import FitResult, fit
from training.models.backbones import Backbone, find_head
from training.models.image import Head, ImageClassifier
from training.models.layers import state_hash
from training.pipelines.image.features import head_features
from training.pipelines.image.loading import evaluation_loader, make_loss, make_metric, training_loader
from training.runs import TrainingRun
from training.settings import ImageSettings


def fit_head(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: EvaluationImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
    *,
    folder: Path | None = None,
) -> FitResult:
    """Train the last layer alone; the rest is left as it is, statistics of batch norm included.

    What the last layer gets is computed once per image, so an epoch takes a moment. Images are not augmented.

    Args:
        classifier: of the backbone; it is left in evaluation mode.
        backbone: whose head is trained.
        train: images to learn from.
        validation: images that choose the best epoch.
        settings: of the run.
        run: where it writes.
        folder: for log and checkpoints; default: that of the run.

    Raises:
        BackboneError: something is computed behind the last layer.
    """
    before = state_hash(backbone.network, without=backbone.head_keys)
    classifier.eval().requires_grad_(False)
    head = Head(find_head(backbone), settings.dropout or 0.0).requires_grad_(True)
    features = [
        head_features(classifier, backbone, head, images, settings, run, part)
        for images, part in ((train, "training"), (validation, "validation"))
    ]
    result = fit(
        head.train(),
        training_loader(TensorDataset(*features[0]), settings, workers=0),
        evaluation_loader(TensorDataset(*features[1]), settings, workers=0),
        settings,
        loss=make_loss(settings),
        metric=make_metric(backbone.classes),
        run_folder=folder or run.folder,
        resume=run.resumes,
        after_epoch=None if folder else run.after_epoch,
        console=run.console,
    )
    after = state_hash(backbone.network, without=backbone.head_keys)
    assert before == after, "training the head changed the backbone. This is a bug."
    run.say(f"the backbone is unchanged: sha256 {after[:12]}")
    return result

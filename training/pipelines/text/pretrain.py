"""Before the training: learning the language of the texts, without their labels."""

from __future__ import annotations

from torch import nn

from training.data.texts.batches import TokenDataset, training_batches
from training.data.texts.masking import mask_tokens, masked_batches
from training.fit import fit
from training.models.guessing import guesser_of
from training.models.text import CommitteeLoss, LogLoss
from training.pipelines.text.measure import EVALUATION_BATCH
from training.runs import TrainingRun
from training.settings.text import TextSettings

PRETRAINING_FOLDER = "pretraining"


def pretrain(
    network: nn.Module, train: TokenDataset, validation: TokenDataset, settings: TextSettings, run: TrainingRun
) -> None:
    """Teach a network, in place, to guess hidden tokens of the training part; the validation part chooses the epoch.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was learnt is of no use yet, and a resumed run goes on.
    """
    run.say(f"guessing hidden tokens for {settings.pretrain_epochs} epochs, before labels are looked at")
    epochs = settings.pretrain_epochs
    result = fit(
        guesser_of(network).train(),
        training_batches(train, settings.batch_size, settings.seed, workers=settings.workers),
        masked_batches(validation, EVALUATION_BATCH),
        settings.model_copy(update={"epochs": epochs, "patience": epochs, "averaging": "none", "find_rate": False}),
        loss=CommitteeLoss(),
        metric=LogLoss(),
        mode="min",
        prepare=mask_tokens,
        run_folder=run.folder / PRETRAINING_FOLDER,
        resume=run.resumes,
        console=run.console,
    )
    if result.interrupted:
        run.say(f"no labels were looked at yet, so there is no model; go on with --resume {run.folder}")
        raise KeyboardInterrupt
    network.requires_grad_(True).train()

"""What can go wrong in a training run through the user's data or choices.

TrainingError
├── SettingsError   a setting, or a combination of settings, cannot work
├── DataError       the data cannot be trained on
├── BackboneError   no backbone has that name
├── WeightsError    weights cannot be had, or do not fit the network
├── FitError        training failed
│   └── DivergedError   the loss is not finite
├── StoppedError    Ctrl-C ended an experiment, which can go on
├── GateError       the exported graph does not do what the trained model does
└── RemoteError     a running server does not answer
"""


class TrainingError(ValueError):
    """Base of all errors that this package raises on purpose; the text is fit for a user."""


class SettingsError(TrainingError):
    """A setting, or a combination of settings, cannot work."""


class DataError(TrainingError):
    """The data cannot be trained on: missing, unreadable, too few."""


class BackboneError(TrainingError):
    """No backbone has that name."""


class WeightsError(TrainingError):
    """Weights cannot be had, or do not fit the network."""


class FitError(TrainingError):
    """Training failed: the loss exploded, or a checkpoint cannot be written."""


class DivergedError(FitError):
    """The loss is not finite."""


class StoppedError(TrainingError):
    """Ctrl-C ended an experiment; what was finished is kept, and it can go on."""


class GateError(TrainingError):
    """The exported graph does not do what the trained model does; nothing was published."""


class RemoteError(TrainingError):
    """A running server cannot be reached, or refuses what it is asked."""

"""What can go wrong with a model file, a repository, or a user's input.

ZooError
├── CardError         the card in a model file is not one that this version understands
├── PackageError      the file is not a complete ONNX file
├── RepositoryError   a repository, or a name or version in it, is not usable
├── GoldenError       the model does not give the outputs that its card promises
└── InputError        what a user sent cannot be used
"""


class ZooError(ValueError):
    """Base of all errors that this package raises on purpose; the text is fit for a user."""


class CardError(ZooError):
    """The card in a model file is missing a field, has a wrong one, or is of an unknown schema."""


class PackageError(ZooError):
    """The file is not a complete ONNX file."""


class RepositoryError(ZooError):
    """A repository, or a model name or version in it, is not usable."""


class GoldenError(ZooError):
    """The model does not give the outputs that its card promises."""


class InputError(ZooError):
    """What a user sent cannot be used; `reason` is an UPPER_SNAKE word for programs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

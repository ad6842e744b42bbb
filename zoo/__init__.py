"""Shared ground of training and serving: the card, the model file, the repository, and preprocessing."""

from pathlib import Path

BUNDLED = Path(__file__).parent / "bundled"
"""The repository of models that come with the package."""

"""The base of all settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base: immutable, unknown names are errors, the docstring of a field is its description."""

    help_panel: ClassVar[str] = "Options"
    """Heading of the fields that a class itself defines, in `--help`."""

    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that are no options; a file of settings may have them."""

    changed_by_resume: ClassVar[frozenset[str]] = frozenset()
    """Options that may be given beside `--resume`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

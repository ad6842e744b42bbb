"""What all parts of a card have in common."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a card: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")


def check_shares(name: str, shares: Iterable[float]) -> None:
    """Refuse shares that are negative or do not sum to 1."""
    values = list(shares)
    if min(values) < 0 or abs(sum(values) - 1) > 1e-3:
        raise ValueError(f"{name} must be positive and sum to 1, they sum to {sum(values):g}")

"""Golden samples: raw user inputs, and what the trained model answered to them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from zoo.card.base import Part


class GoldenSample(Part):
    """A raw user input and what the trained torch model answered to it; exactly one of the inputs is set."""

    image: bytes | None = None
    """An encoded image file."""
    text: str | None = None
    history: tuple[tuple[float, ...], ...] | None = None
    """[T, F], physical units."""
    expected: tuple[float, ...]
    """`probabilities` [K], or `forecast` [H, targets] flattened row-major."""

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if sum(value is not None for value in (self.image, self.text, self.history)) != 1:
            raise ValueError("exactly one of image, text, history must be set")
        return self


class Golden(Part):
    """The golden samples and how closely the graph must reproduce them: |got - expected| <= atol + rtol |expected|."""

    samples: tuple[GoldenSample, ...] = ()
    atol: float = Field(default=1e-3, ge=0)
    rtol: float = Field(default=1e-3, ge=0)

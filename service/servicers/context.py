"""What the servicers need to know about the RPC that they answer."""

from __future__ import annotations

import asyncio
from typing import Any

from service.models.served_model import ServedModel
from service.telemetry.call import current_call


def deadline_of(context: Any) -> float | None:
    """When the caller stops waiting, as a time of the event loop; None: it waits for ever."""
    remaining: float | None = context.time_remaining()
    return None if remaining is None else asyncio.get_running_loop().time() + remaining


def announce(model: ServedModel) -> ServedModel:
    """Tell those who count and log the RPC which model answers it."""
    blame(model.name, model.version)
    return model


def blame(name: str, version: int) -> None:
    """Tell them which model of the server's it was that cannot answer."""
    call = current_call.get()
    call.model, call.version = name, str(version)

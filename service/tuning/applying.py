"""Sets what was chosen for a model, or says what to set."""

from __future__ import annotations

from dataclasses import dataclass

from service.triton import ConfigEdit, edit_config
from service.tuning.report import Tuned
from zoo import BUNDLED
from zoo.errors import PackageError


@dataclass(frozen=True)
class Setup:
    """What became of a choice."""

    lines: tuple[str, ...] = ()
    """To be shown."""
    refused: bool = False
    """Whether something was to be written and could not be."""


def set_up(model: Tuned, *, write: bool) -> Setup:
    """Write the choice to the model's `config.pbtxt`, where it is not the default.

    Args:
        model: with its choice.
        write: whether to write; the text is only shown otherwise.
    """
    if model.choice is None or model.choice.is_default:
        return Setup()
    combination = model.choice.best.trial.combination
    on_cpu = model.device.kind == "cpu"
    try:
        edit = edit_config(
            model.folder,
            instances=combination.instances,
            threads=combination.threads if on_cpu else None,
            on_cpu=on_cpu,
        )
    except PackageError as exc:
        return Setup((str(exc),), refused=write)
    if not write:
        return Setup(("For config.pbtxt, which --write sets:", *_indented(edit)))
    try:
        if BUNDLED.resolve() in model.folder.resolve().parents:
            raise PackageError(f"{edit.path} is part of the installed package; copy the model to a folder of yours")
        edit.write()
    except PackageError as exc:
        return Setup((f"Not written: {exc}. What it should say:", *_indented(edit)), refused=True)
    return Setup((f"Written to {edit.path}: {'; '.join(edit.changes)}.",))


def _indented(edit: ConfigEdit) -> list[str]:
    return [f"  {line}" for line in edit.lines.splitlines()]

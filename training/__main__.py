"""`python -m training`, also installed as `menagerie-train`."""

from __future__ import annotations

import importlib
import io
import sys

import typer

COMMANDS = ("image", "text", "series", "pretrained", "compare", "ensemble", "evaluate", "quantize", "visualize")
"""Modules in `training.commands`, each with a function `command`."""
GROUPS = ("kfold", "ablate", "tune")
"""Likewise, each with a typer application `app` of a command for each task."""


def build_app() -> typer.Typer:
    """The command line with all its sub-commands."""
    app = typer.Typer(
        help="Train a model, or take a ready one, and publish it as one ONNX file.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name in COMMANDS:
        app.command(name)(importlib.import_module(f"training.commands.{name}").command)
    for name in GROUPS:
        app.add_typer(importlib.import_module(f"training.commands.{name}").app, name=name)
    return app


def main() -> None:
    """Parse the command line and run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal may have no sign for the name of a class; that must not end a run that has published its model.
            stream.reconfigure(errors="backslashreplace")
    build_app()()


if __name__ == "__main__":
    main()

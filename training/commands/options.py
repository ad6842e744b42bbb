"""A settings model as a command line: one option per field, with the field's text as its help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console

from training.errors import TrainingError
from training.settings import Settings
from zoo.errors import ZooError

SettingsModel = TypeVar("SettingsModel", bound=Settings)


def settings_command(
    model: type[SettingsModel], *arguments: str
) -> Callable[[Callable[[SettingsModel], None]], Callable[..., None]]:
    """Decorate a function of one settings object into a typer command.

    Args:
        model: the settings; each field becomes an option `--field-name`.
        arguments: fields that are positional arguments instead.
    """

    def decorate(run: Callable[[SettingsModel], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            _run_translated(lambda: run(_build(model, values)))

        parameters = [_parameter(name, field, name in arguments) for name, field in model.model_fields.items()]
        parameters.sort(key=lambda parameter: parameter.name not in arguments)
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__doc__ = run.__doc__
        command.__name__ = run.__name__
        return command

    return decorate


def _parameter(name: str, field: FieldInfo, positional: bool) -> inspect.Parameter:
    kind = typer.Argument if positional else typer.Option
    default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
    annotation = Annotated[field.annotation, kind(help=field.description)]  # type: ignore[name-defined]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _build(model: type[SettingsModel], values: dict[str, Any]) -> SettingsModel:
    try:
        return model(**values)
    except ValidationError as exc:
        problems = [_problem(error["loc"], error["msg"], error["input"]) for error in exc.errors()]
        raise typer.BadParameter("; ".join(problems)) from exc


def _problem(location: tuple[int | str, ...], message: str, value: object) -> str:
    message = message.removeprefix("Value error, ")
    if not location:
        return message
    return f"--{str(location[0]).replace('_', '-')}: {message} (got {value!r})"


def _run_translated(run: Callable[[], None]) -> None:
    """Run; an error that is the user's to solve becomes one line and exit code 2."""
    try:
        run()
    except (TrainingError, ZooError) as exc:
        Console(stderr=True).print("error:", str(exc), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from exc

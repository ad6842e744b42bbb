"""A settings model as a command line: one option per field, with the field's text as its help.

Values come from the command line, else from the file of `--config`, else from the model's defaults. Where a model has
the field `resume`, `--resume RUN` takes all of them from the run folder.
"""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console

from training.errors import SettingsError, TrainingError
from training.processes import is_first_process, process_count
from training.saying import say
from training.settings import Settings
from zoo.errors import ZooError

SettingsModel = TypeVar("SettingsModel", bound=Settings)
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CONFIG = "config"
_CONFIG_HELP = "YAML file with any of these settings, one `name: value` per line; options given here go before it."


def settings_command(
    model: type[SettingsModel], *arguments: str, several_processes: bool = False
) -> Callable[[Callable[[SettingsModel], None]], Callable[..., None]]:
    """Decorate a function of one settings object into a typer command.

    Args:
        model: the settings; each field becomes an option `--field-name`.
        arguments: fields that are positional arguments instead.
        several_processes: torchrun may start it more than once, to train together.
    """

    def decorate(run: Callable[[SettingsModel], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            _run_translated(lambda: _run_alone(run, _build(model, values, arguments), several_processes))

        # Arguments first; then what the task itself defines, before what every run has.
        shown = [name for name in model.model_fields if name not in model.hidden]
        names = sorted(shown, key=lambda name: (name not in arguments, model.mro().index(_owner(model, name))))
        parameters = [_parameter(model, name, name in arguments) for name in names]
        parameters.append(_keyword(_CONFIG, Annotated[Path | None, typer.Option(metavar="FILE", help=_CONFIG_HELP)]))
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__doc__ = run.__doc__
        command.__name__ = run.__name__
        return command

    return decorate


def _parameter(model: type[Settings], name: str, positional: bool) -> inspect.Parameter:
    field = model.model_fields[name]
    text = f"{field.description} {_default(field)}"
    panel = None if positional else _owner(model, name).__dict__.get("help_panel")
    kind = (typer.Argument if positional else typer.Option)(help=text, rich_help_panel=panel)
    # None stands for "not given": a file may give it, and the model knows its own defaults.
    return _keyword(name, Annotated[_typer_type(field.annotation) | None, kind])


def _owner(model: type[Settings], name: str) -> type:
    """The class that defined a field first; those that only change its default do not count."""
    return next(cls for cls in reversed(model.mro()) if name in inspect.get_annotations(cls))


def _typer_type(annotation: Any) -> Any:
    """typer knows no lists of choices; the model checks the texts."""
    if get_origin(annotation) is list and get_origin(get_args(annotation)[0]) is Literal:
        return list[str]
    return annotation


def _default(field: FieldInfo) -> str:
    """What the help says about leaving an option out."""
    if field.is_required():
        return "Required."
    default = field.get_default(call_default_factory=True)
    if default in (None, "", []):
        return ""
    shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else default
    return f"Default: {shown}."


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _build(model: type[SettingsModel], values: dict[str, Any], arguments: tuple[str, ...]) -> SettingsModel:
    given = {name: value for name, value in values.items() if value is not None and value != []}
    config = given.pop(_CONFIG, None)
    if "resume" in given:
        given = _of_run(model, given | ({_CONFIG: config} if config else {}))
    elif config is not None:
        from training.runs.settings_file import read_values

        given = read_values(config, model) | given
    if "from_model" in given and "resume" not in given:
        given = _inherited(model, given) | given
    try:
        return model(**given)
    except ValidationError as exc:
        problems = [_problem(error, arguments) for error in exc.errors()]
        raise typer.BadParameter("; ".join(problems)) from exc


def _of_run(model: type[SettingsModel], given: dict[str, Any]) -> dict[str, Any]:
    """All settings of the run to resume."""
    from training.runs.settings_file import SETTINGS_FILE, read_values

    if others := sorted(given.keys() - {"resume"} - model.changed_by_resume):
        raise typer.BadParameter(
            f"--resume goes on with the settings of the run; leave out {', '.join(map(_option, others))}, "
            f"or begin a new run with --config {given['resume'] / SETTINGS_FILE}"
        )
    if not (given["resume"] / SETTINGS_FILE).is_file():
        raise SettingsError(f"--resume {given['resume']} is not the folder of a run: it has no {SETTINGS_FILE}")
    return read_values(given["resume"] / SETTINGS_FILE, model) | given


def _inherited(model: type[SettingsModel], given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the run to go on from."""
    from training.pipelines.origin import inherited_values
    from training.settings import RunSettings

    assert issubclass(model, RunSettings), "only runs go on from a model. This is a bug."
    return inherited_values(
        model, Path(given["from_model"]), Path(given.get("runs", model.model_fields["runs"].default))
    )


def _problem(error: Any, arguments: tuple[str, ...]) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    name = str(error["loc"][0])
    if error["type"] == "missing":
        what = name.upper() if name in arguments else _option(name)
        return f"{what} is missing; give it here or in the file of --config"
    return f"{_option(name)}: {message} (got {error['input']!r})"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _run_alone(run: Callable[[SettingsModel], None], settings: SettingsModel, several_processes: bool) -> None:
    if process_count() > 1 and not several_processes:
        raise SettingsError("this command runs in one process; under torchrun, image, text and series train together")
    run(settings)


def _run_translated(run: Callable[[], None]) -> None:
    """Run; an error that is the user's to solve becomes one line and exit code 2."""
    try:
        run()
    except (TrainingError, ZooError) as exc:
        _tell(str(exc))
        raise typer.Exit(2) from exc
    except OSError as exc:
        if exc.errno not in _DISK_IS_FULL:
            raise
        _tell(
            f"{exc.strerror}; what was written before is whole: make room, and go on with --resume where there is a run"
        )
        raise typer.Exit(2) from exc


def _tell(error: str) -> None:
    say(Console(stderr=True, quiet=not is_first_process()), f"error: {error}", "red")

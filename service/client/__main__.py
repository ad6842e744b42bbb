"""`menagerie-predict`: predictions from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperCommand

from service.client.batches import MAX_ITEMS, Failure, Job, Outcome, predict_in_batches
from service.client.client import Client
from service.client.connection import Credentials
from service.client.errors import ClientError
from service.client.inputs import Target, image_job, read_lines, series_job, text_job
from service.client.render import print_tables, to_json

console = Console()
errors = Console(stderr=True)
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

_ACCESS = "TLS and token"
_MANY = ("--image", "--text", "--series")


class _ManyValues(TyperCommand):
    """Lets `--image a.jpg b.jpg` stand for `--image a.jpg --image b.jpg`, as a shell's wildcard needs it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeated: list[str] = []
        option = ""
        for previous, argument in zip(["", *args], args, strict=False):
            if option and previous == option:
                pass  # its first value, whatever it looks like
            elif argument.startswith("-") and len(argument) > 1:
                option = argument if argument in _MANY else ""
            elif option:
                repeated.append(option)
            repeated.append(argument)
        return super().parse_args(ctx, repeated)


def _access(variable: str, metavar: str, text: str) -> Any:
    return typer.Option(envvar=variable, metavar=metavar, help=text, rich_help_panel=_ACCESS, show_default=False)


@app.command(cls=_ManyValues)
def predict(
    model: Annotated[str, typer.Option(help="Name of the model.", show_default=False)],
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="MENAGERIE_ADDRESS", help="The server.")
    ] = "127.0.0.1:8001",
    version: Annotated[int, typer.Option(min=0, help="Version; 0 is the newest.")] = 0,
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE...", help="Image files to classify.")] = None,
    text: Annotated[list[str] | None, typer.Option(metavar="TEXT...", help="Texts to classify.")] = None,
    text_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with one text a line; - is standard input.")
    ] = None,
    series: Annotated[list[Path] | None, typer.Option(metavar="FILE...", help="CSV files to forecast.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, in order.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for one request.")] = 60.0,
    tls: Annotated[
        bool, typer.Option("--tls", help="Speak TLS, trusting public authorities.", rich_help_panel=_ACCESS)
    ] = False,
    tls_ca: Annotated[
        Path | None, _access("MENAGERIE_TLS_CA", "FILE", "Speak TLS, trusting these authorities.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, _access("MENAGERIE_CLIENT_CERTIFICATE", "FILE", "Own certificate, where the server wants one.")
    ] = None,
    tls_key: Annotated[Path | None, _access("MENAGERIE_CLIENT_KEY", "FILE", "Key of the own certificate.")] = None,
    tls_server_name: Annotated[
        str, _access("MENAGERIE_TLS_SERVER_NAME", "NAME", "Name in the server's certificate, if not the address's.")
    ] = "",
    token: Annotated[
        str, _access("MENAGERIE_TOKEN", "TOKEN", "Token to show; the environment keeps it out of the process list.")
    ] = "",
) -> None:
    """Ask a Menagerie server for predictions. Exit code 1 if any item failed.

    Examples:

        menagerie-predict --model flowers --image *.jpg

        menagerie-predict --model sentiment-ko --text "정말 재미있어요" "시간이 아깝다"

        menagerie-predict --model load-forecast --series load.csv --json
    """
    kinds = {"--image": image, "--text": text, "--text-file": text_file, "--series": series}
    given = [name for name, value in kinds.items() if value]
    if len(given) != 1:
        raise typer.BadParameter(f"give one of {', '.join(kinds)}; got {' and '.join(given) or 'none'}")
    target = Target(model, version)
    credentials = Credentials(
        tls=tls, tls_ca=tls_ca, certificate=tls_certificate, key=tls_key, server_name=tls_server_name, token=token
    )
    with Client(address, timeout_seconds=timeout, credentials=credentials) as client:
        if image:
            failed = _run(image_job(client, target, image, top_k), as_json)
        elif series:
            failed = _run(series_job(client, target, series), as_json)
        else:
            texts = read_lines(text_file) if text_file else text or []
            failed = _run(text_job(client, target, texts, top_k), as_json)
    if failed:
        raise typer.Exit(1)


def _run(job: Job[Any], as_json: bool) -> bool:
    """Predict and print; whether any item failed."""
    outcomes: list[Outcome] = []
    with _progress() as progress:
        bar = progress.add_task("predicting", total=len(job.items), visible=len(job.items) > MAX_ITEMS)
        for batch in predict_in_batches(job):
            if as_json:
                for outcome in batch:
                    print(to_json(outcome), flush=True)
            outcomes += batch
            progress.advance(bar, len(batch))
    if not as_json:
        print_tables(console, outcomes)
    return any(isinstance(outcome.result, Failure) for outcome in outcomes)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=errors, transient=True)


def main() -> None:
    """Run the command line; errors are one line, never a traceback."""
    try:
        app()
    except ClientError as exc:
        errors.print(f"[red]error:[/] {escape(str(exc))}", soft_wrap=True)
        raise SystemExit(1) from exc


if __name__ == "__main__":
    main()

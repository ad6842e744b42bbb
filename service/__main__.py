"""`python -m service`, also installed as `menagerie-serve`: parse, build, run, close."""

from __future__ import annotations

import asyncio
import os
import sys

from service.errors import StartError
from service.flags import parse_settings
from service.telemetry.logs import configure_logging
from zoo.errors import ZooError

TUNE = "tune"
"""The one command beside serving, which needs no word."""


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit code 2, with one line, where the server cannot start as it was asked to."""
    try:
        if sys.argv[1:2] == [TUNE]:
            from service.tuning.command import app

            app(sys.argv[2:], prog_name=f"menagerie-serve {TUNE}")
        settings = parse_settings()
        configure_logging(settings.log_level, settings.log_format)
        # gRPC writes what peers send to standard error as it is, line breaks included: nobody may forge our log.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from service.server import serve  # loads gRPC, which reads the variable once

        asyncio.run(serve(settings))
    except (StartError, ZooError) as exc:
        print(f"menagerie-serve: {exc}", file=sys.stderr)
        raise SystemExit(2) from exc


if __name__ == "__main__":
    main()

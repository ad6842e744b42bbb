"""`python -m service`, also installed as `menagerie-serve`: parse, build, run, close."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from service.cpus import available_cpus
from service.memory import set_up_heaps

# The first process of a container hears no signal that it has not asked for; the server asks for it once more.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
# The modules below load numpy, which starts threads: the heaps are limited before there are any, or not at all.
set_up_heaps(available_cpus())
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the server multiplies no matrices outside of ONNX Runtime

from service.errors import StartError  # noqa: E402
from service.flags import parse_settings  # noqa: E402
from service.telemetry.logs import configure_logging  # noqa: E402
from zoo.errors import ZooError  # noqa: E402

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

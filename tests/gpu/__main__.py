"""Everything that only a machine with a GPU can show, in one table.

    python -m tests.gpu [--quick] [--device cuda:0] [--json build/gpu/results.json] [--only SECTION ...] [--skip ...]

Sections: agreement (every family of backbones and the bundled models answer on CUDA as on the CPU), runtime and torch
(what the GPU can do without a server), decoding, server (requests through gRPC against those), unload, out-of-memory,
training. Each is caught on its own. Exit code 1 if a check failed; without a working GPU the parts that need none are
run, and it is theirs.

`--quick` takes less than ten minutes on one H200 with 16 cores. Models have random weights; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

if __package__ in (None, ""):  # started as `python tests/gpu`
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.gpu import environment

FAMILIES = ("vgg16", "googlenet", "inception_v3", "resnet50", "timm/efficientnet_b0")
QUICK_SECONDS, SECONDS = 2.0, 8.0


@dataclass(frozen=True)
class Section:
    """A part of the script: `module:function`, and what it needs."""

    name: str
    function: str
    packages: dict[str, str]
    with_gpu: bool | None
    """True: needs one; False: stands in where there is none; None: the same with and without."""


SECTIONS = (
    Section("models", "models:make_models", environment.EXPORT, with_gpu=None),
    Section("agreement", "agreement:compare", environment.SERVING, with_gpu=None),
    Section("decoding", "throughput:measure_decoding", environment.EXPORT, with_gpu=None),
    Section("ceiling", "throughput:measure_ceiling", environment.EXPORT, with_gpu=None),
    Section("callers", "throughput:measure_without_gpu", environment.EXPORT, with_gpu=False),
    Section("runtime", "floors:measure_runtime", environment.EXPORT, with_gpu=True),
    Section("torch", "floors:measure_torch", environment.EXPORT, with_gpu=True),
    Section("server", "throughput:measure_server", environment.EXPORT, with_gpu=True),
    Section("unload", "memory:check_unload", environment.EXPORT, with_gpu=True),
    Section("out-of-memory", "memory:check_out_of_memory", environment.EXPORT, with_gpu=True),
    Section("training", "training_speed:measure_training", environment.TRAINING, with_gpu=True),
)


def main(arguments: list[str] | None = None) -> int:
    """Look what is here, run the sections, print the table; the exit code."""
    options = _parser().parse_args(arguments)
    names = set(options.only or _names()) - set(options.skip)
    chosen = [section for section in SECTIONS if section.name in names]
    needed = {module: package for section in chosen for module, package in section.packages.items()}
    if missing := environment.missing_packages(environment.SERVING | needed):
        print(f"missing here: {', '.join(missing)}\n{environment.way_out(missing)}", file=sys.stderr)
        return 2
    environment.prepare_paths()
    with tempfile.TemporaryDirectory(prefix="menagerie-gpu-") as folder:
        return _run(chosen, options, Path(folder))


def _run(chosen: list[Section], options: argparse.Namespace, folder: Path) -> int:
    # Only now: what is imported here may not have been there.
    from rich.console import Console

    from service.backend.device import check_cuda
    from service.errors import DeviceError
    from tests.gpu.bench import Bench
    from tests.gpu.report import Report

    console = Console(width=200)
    report = Report(console, options.json, {"versions": environment.versions(), "quick": options.quick})
    device, why_not = options.device, ""
    try:
        check_cuda(int(device.partition(":")[2] or 0))
    except DeviceError as exc:
        device, why_not = None, exc.message
        console.print(f"no GPU: {why_not}; only the parts that need none are run", style="yellow", highlight=False)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    families = tuple(name for name in options.families.split(",") if name)
    bench = Bench(report, device, why_not, folder, seconds, families, tuple(options.repository))
    report.about["device"] = import_module("tests.gpu.floors").describe_device(bench) if device else why_not
    for section in chosen:
        _run_section(section, bench)
    report.print()
    return int(report.failed)


def _run_section(section: Section, bench: Bench) -> None:  # noqa: F821
    with bench.report.section(section.name):
        if section.with_gpu is not None and section.with_gpu != bool(bench.device):
            note = bench.why_not if section.with_gpu else "stands in for others where there is no GPU"
            bench.report.add(section.name, verdict="skipped", note=note)
            return
        module, _, name = section.function.partition(":")
        function: Callable[[Bench], object] = getattr(import_module(f"tests.gpu.{module}"), name)  # noqa: F821
        result = function(bench)
        if asyncio.iscoroutine(result):
            asyncio.run(result)


def _names() -> list[str]:
    return [section.name for section in SECTIONS]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"measure each number for {QUICK_SECONDS:g} s")
    parser.add_argument("--seconds", type=float, help="measure each number for so long")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--json", type=Path, default=environment.ROOT / "build" / "gpu" / "results.json")
    parser.add_argument("--only", nargs="+", choices=_names(), help="only these sections; most need `models`")
    parser.add_argument("--skip", nargs="+", choices=_names(), default=[])
    parser.add_argument("--families", default=",".join(FAMILIES), help="backbones to make, with commas between them")
    parser.add_argument("--repository", action="append", type=Path, default=[], help="more models to compare")
    return parser


if __name__ == "__main__":
    sys.exit(main())

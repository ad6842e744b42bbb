"""Tunes one model after the other, in the time that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from service import triton
from service.backend.contract import Backend, Device
from service.backend.padding import batch_sizes
from service.errors import InferenceError, ServiceError
from service.loader import Loader
from service.models.loading import LoadedModel
from service.models.model_settings import ModelSettings
from service.models.plan import make_plan
from service.settings import Settings
from service.tuning.choosing import choose
from service.tuning.exploring import Explorer
from service.tuning.machine import ThisMachine
from service.tuning.report import Report, Tuned
from service.tuning.timing import Probe
from service.tuning.trials import Combination, Trial, cpu_combinations, gpu_combinations
from zoo.errors import PackageError, ZooError
from zoo.repository import ModelVersion

Progress = Callable[[str, Trial | None], None]
"""Told the model, and what is tried next; None: it is being loaded."""


class Tuner:
    """Tunes models as a server with these settings would serve them."""

    def __init__(self, settings: Settings, device: Device, *, largest: int) -> None:
        """Nothing is loaded yet.

        Args:
            settings: of the server.
            device: where models run, where they do not say it themselves.
            largest: rows of the largest batch to try.
        """
        self._settings = settings
        self._machine = ThisMachine()
        most = max(largest, settings.max_batch_size)
        self._loader = Loader(settings.model_copy(update={"max_batch_size": most}), device)

    def tune(self, versions: Sequence[ModelVersion], seconds: float, report: Report, progress: Progress) -> None:
        """Tune all; what one model does not need of its share is for those after it.

        Args:
            versions: the models.
            seconds: what all of them may take.
            report: gets what is found out, also where this is interrupted.
            progress: told what happens.
        """
        end = self._machine.now() + seconds
        for index, version in enumerate(versions):
            share = (end - self._machine.now()) / (len(versions) - index)
            try:
                self._tune(version, self._machine.now() + share, report, progress)
            except InferenceError as exc:
                report.skipped[version.name] = f"a run of its probe fails: {exc.detail}"
            except (ZooError, ServiceError) as exc:
                report.skipped[version.name] = str(exc)

    def _tune(self, version: ModelVersion, end: float, report: Report, progress: Progress) -> None:
        progress(version.name, None)
        with self._open(version) as (served, backends):
            if served.probe is None:
                raise PackageError("no inputs are known that it answers; publish it with golden samples")
            default = self._default(served)
            explorer = Explorer(
                self._machine,
                backends,
                Probe(served.probe, served.backend, served.card, batched=served.graph.max_batch != 0),
                combinations={default.combination, *self._combinations(served)},
                sizes=_sizes(served, default),
                default=default,
                progress=lambda trial: progress(version.name, trial),
            )
            try:
                explorer.explore(max(end - self._machine.now(), 0.0))
            finally:
                report.tuned.append(_result(version, served, explorer, default))

    @contextmanager
    def _open(self, version: ModelVersion) -> Iterator[tuple[LoadedModel, dict[int, Backend]]]:
        """The model as the server opens it, and its backends by the threads of a run; closed afterwards."""
        with ExitStack() as stack:

            def load(settings: ModelSettings) -> LoadedModel:
                model = self._loader.load(version, settings)
                stack.callback(model.backend.close)
                return model

            settings = self._loader.read(version)
            served = load(settings)
            backends = {served.threads: served.backend}
            for threads in sorted({made.threads for made in self._combinations(served)} - {served.threads}):
                backends[threads] = load(replace(settings, threads=threads)).backend
            yield served, backends

    def _combinations(self, served: LoadedModel) -> set[Combination]:
        if served.backend.device.kind == "cpu":
            return cpu_combinations(self._settings.compute_threads)
        return gpu_combinations(self._loader.threads(replace(served.settings, instances=1)))

    def _default(self, served: LoadedModel) -> Trial:
        """What the server does with the model as it is, under full load."""
        plan = make_plan(served, self._settings)
        # It was loaded for the largest batches to try.
        rows = min(plan.rules.max_rows, served.graph.most_rows(self._settings.max_batch_size))
        return Trial(Combination(plan.cores, plan.threads), rows or 1)


def _sizes(served: LoadedModel, default: Trial) -> tuple[int, ...]:
    """Rows of the batches to try: those that the server could be told to have."""
    return tuple(sorted({*batch_sizes(served.run_rows or 1), default.rows}))


def _result(version: ModelVersion, served: LoadedModel, explorer: Explorer, default: Trial) -> Tuned:
    own = triton.read_model_settings(version.path.parents[1])
    return Tuned(
        version=version,
        device=served.backend.device,
        sizes=_sizes(served, default),
        free_batch=served.graph.max_batch is None and not served.takes_pictures,
        configured=own.instances is not None or own.threads is not None,
        default=default,
        measured=explorer.measured,
        failed=explorer.failed,
        choice=choose(explorer.measured, default),
    )

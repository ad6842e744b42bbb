"""Tunes one model after the other, in the time that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from service import triton
from service.backend.contract import Device
from service.backend.padding import batch_sizes
from service.errors import InferenceError, ServiceError
from service.loader import Loader
from service.models.loading import LoadedModel
from service.models.model_settings import ModelSettings
from service.models.pace import ENOUGH_PICTURES, is_short
from service.settings import Settings
from service.tuning.choosing import Choice, choose, common_rows
from service.tuning.exploring import Explorer
from service.tuning.machine import Machine, ThisMachine
from service.tuning.timing import Probe
from service.tuning.trials import Combination, Measurements, Trial, cpu_combinations, gpu_combinations
from zoo.errors import PackageError, ZooError
from zoo.repository import ModelVersion

Progress = Callable[[str, Trial | None], None]
"""Told the model, and what is tried next; None: it is being loaded."""


@dataclass(frozen=True)
class Tuned:
    """What was found out about a model."""

    version: ModelVersion
    device: Device
    sizes: tuple[int, ...]
    """Rows of the batches that were to be tried."""
    free_batch: bool
    """Whether the server's limit says how large a batch may be, and not the model, or that its rows are pictures."""
    configured: bool
    """Whether its config.pbtxt says how many instances or threads it has already."""
    default: Trial
    """What the server does by itself, or as the configuration has it."""
    measured: Measurements
    failed: dict[Trial, str]
    choice: Choice | None
    """None: it was interrupted before anything was known."""

    @property
    def folder(self) -> Path:
        """Of the model, where its config.pbtxt is."""
        return self.version.path.parents[1]


@dataclass
class Report:
    """What was found out about all models; grows while they are tuned."""

    tuned: list[Tuned] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Model to what is wrong with it."""

    @property
    def asking(self) -> dict[str, tuple[Measurements, Combination]]:
        """Models whose batches are as large as the server allows: what was measured, and the combination to have."""
        return {
            model.version.name: (model.measured, model.choice.best.trial.combination)
            for model in self.tuned
            if model.free_batch and model.choice
        }

    def max_batch_size(self, default: int) -> int | None:
        """The server's --max-batch-size that suits all models; None where no model asks."""
        if not self.asking:
            return None
        sizes = {size for model in self.tuned if model.free_batch for size in model.sizes}
        return common_rows(self.asking.values(), sizes, default)


class Tuner:
    """Tunes models as a server with these settings would serve them."""

    def __init__(self, settings: Settings, device: Device, *, largest: int, machine: Machine | None = None) -> None:
        """Nothing is loaded yet.

        Args:
            settings: of the server.
            device: where models run, where they do not say it themselves.
            largest: rows of the largest batch to try.
            machine: default: this one.
        """
        self._settings = settings
        self._machine = machine or ThisMachine()
        self._sizes = tuple(sorted({*batch_sizes(largest), settings.max_batch_size}))
        self._loader = Loader(settings.model_copy(update={"max_batch_size": self._sizes[-1]}), device)

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
        settings = self._loader.read(version)
        with self._open(version, settings) as models:
            found = next(iter(models.values()))
            if found.probe is None:
                raise PackageError("no inputs are known that it answers; publish it with golden samples")
            batched = found.graph.max_batch != 0
            probe = Probe(found.probe, found.backend, found.card, batched=batched)
            default = self._default(settings, models)
            explorer = Explorer(
                self._machine,
                {threads: model.backend for threads, model in models.items()},
                probe,
                combinations={default.combination, *self._combinations(settings)},
                sizes=self._sizes_of(found),
                default=default,
                progress=lambda trial: progress(version.name, trial),
            )
            try:
                explorer.explore(max(end - self._machine.now(), 0.0))
            finally:
                report.tuned.append(self._result(version, found, explorer, default))

    @contextmanager
    def _open(self, version: ModelVersion, settings: ModelSettings) -> Iterator[dict[int, LoadedModel]]:
        """The model with each number of threads, fewest first; closed afterwards."""
        counts = {self._loader.threads(settings), *(made.threads for made in self._combinations(settings))}
        models: dict[int, LoadedModel] = {}
        try:
            for threads in sorted(counts):
                models[threads] = self._loader.load(version, replace(settings, threads=threads))
            yield models
        finally:
            for model in models.values():
                model.backend.close()

    def _combinations(self, settings: ModelSettings) -> set[Combination]:
        if self._loader.place(settings).kind == "cpu":
            return cpu_combinations(self._settings.compute_threads)
        return gpu_combinations(self._loader.threads(replace(settings, instances=1)))

    def _default(self, settings: ModelSettings, models: dict[int, LoadedModel]) -> Trial:
        """What the server does with the model as it is, under full load."""
        threads, instances = self._loader.threads(settings), settings.instances or 1
        model, cores = models[threads], self._settings.compute_threads
        device = model.backend.device
        rows = self._settings.max_batch_size if model.graph.max_batch is None else self._sizes_of(model)[-1]
        if settings.threads is None and threads > 1 and device.kind == "cpu" and is_short(model.row_seconds):
            # It takes a core for each run, and runs full batches side by side.
            threads, instances = 1, max(instances, cores if model.graph.max_batch != 0 else 1)
        elif model.takes_pictures:
            # So does this one where it has much to do, with smaller batches.
            threads, instances, rows = 1, instances + threads - 1, min(rows, ENOUGH_PICTURES)
        return Trial(Combination(threads, instances), rows)

    def _sizes_of(self, model: LoadedModel) -> tuple[int, ...]:
        most = model.graph.max_batch
        return self._sizes if most is None else batch_sizes(max(most, 1))

    def _result(self, version: ModelVersion, found: LoadedModel, explorer: Explorer, default: Trial) -> Tuned:
        own = triton.read_model_settings(version.path.parents[1])
        return Tuned(
            version=version,
            device=found.backend.device,
            sizes=self._sizes_of(found),
            free_batch=found.graph.max_batch is None and not found.takes_pictures,
            configured=own.instances is not None or own.threads is not None,
            default=default,
            measured=explorer.measured,
            failed=explorer.failed,
            choice=choose(explorer.measured, default),
        )

"""A loaded model that is run in batches, and knows whether it still answers."""

from __future__ import annotations

from collections.abc import Sequence

from service.backend.contract import Tensors
from service.batching.batcher import Batcher
from service.batching.runs import Computed
from service.models.loading import LoadedModel
from service.models.plan import make_plan
from service.models.pulse import Pulse
from service.models.runner import Runner
from service.settings import Settings
from service.telemetry.model_metrics import ModelMetrics


class BatchedModel:
    """The runs of one version of a model. Belongs to the event loop that it is made in."""

    def __init__(self, name: str, loaded: LoadedModel, settings: Settings, metrics: ModelMetrics) -> None:
        """Start to work.

        Args:
            name: of its threads.
            loaded: what runs.
            settings: of the server.
            metrics: of this version.
        """
        plan = make_plan(loaded, settings)
        self.max_delay_seconds = plan.rules.max_delay_seconds
        """How long requests wait for others to share their batch."""
        self._probe = loaded.probe
        self._shown = tuple(spec.name for spec in loaded.signature.outputs)
        self._runner = Runner(name, loaded, plan.threads)
        self._pulse = Pulse(self._run_probe if loaded.probe else None)
        self.batcher = Batcher(
            self._compute,
            metrics,
            plan.rules,
            max_queue_rows=settings.max_queue_rows,
            max_queue_seconds=settings.max_queue_seconds,
        )
        """What requests are given to."""

    async def works(self) -> bool:
        """Whether the model answers: by a run that just ended, or else by a probe."""
        return await self._pulse.is_there()

    async def close(self, timeout_seconds: float) -> None:
        """Finish what is under way, then give memory back."""
        await self.batcher.close(timeout_seconds)
        self._runner.close()

    async def _compute(self, parts: Sequence[Tensors], outputs: Sequence[str]) -> Computed:
        ran = await self._runner.run(parts, outputs, alone=self.batcher.alone)
        self._pulse.beat()
        return ran

    async def _run_probe(self, deadline: float) -> None:
        assert self._probe, "the pulse is told"
        await self.batcher.submit(self._probe, self._shown, deadline=deadline, counted=False)

"""Tries combinations and batch sizes of one model, in as many seconds as there are.

Every size is tried with every combination before the next larger one, and then all again, back and forth: whatever else
the machine does meets all of them. What is far behind is tried no more, so that the best are tried most often.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from service.backend.contract import Backend
from service.errors import InferenceError, OutOfMemoryError
from service.tuning.machine import Machine
from service.tuning.timing import Probe, time_runs
from service.tuning.trials import Combination, Measurement, Measurements, Trial

ROUNDS = 6
"""Looks at what is among the best."""
HOPELESS = 1 / 3
"""Of the best rate so far: a combination below it is not tried with larger batches."""
CONTENDING = 0.8
"""Of the best rate: what is above it after two looks is looked at again."""
_LONGEST_LOOK_SECONDS = 0.25
_RUN_SHARE = 5
"""A run must not be longer than this part of the time that its combination has."""

Progress = Callable[[Trial], None]
"""Told what is tried next."""


class Explorer:
    """The trials of one model."""

    def __init__(
        self,
        machine: Machine,
        backends: Mapping[int, Backend],
        probe: Probe,
        *,
        combinations: Collection[Combination],
        sizes: Sequence[int],
        default: Trial,
        progress: Progress | None = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            machine: the clock, and what runs side by side.
            backends: the model, opened with each number of threads.
            probe: what is run.
            combinations: those to try.
            sizes: rows of the batches to try, smallest first.
            default: what the server does by itself; tried to the end, to be compared with.
            progress: told what is tried next; None: nobody is.
        """
        self.measured: Measurements = {}
        """So far."""
        self.failed: dict[Trial, str] = {}
        """What is out of the question, and why."""
        self._machine = machine
        self._backends = backends
        self._probe = probe
        # What the server does comes first: without it nothing can be said.
        self._combinations = sorted(
            combinations, key=lambda combination: (combination != default.combination, combination)
        )
        self._sizes = sizes
        self._default = default
        self._progress = progress

    def explore(self, seconds: float) -> None:
        """Try for so long; one row with the first combination in any case."""
        self._look_seconds = min(seconds / (ROUNDS * len(self._combinations) * len(self._sizes)), _LONGEST_LOOK_SECONDS)
        self._longest_run_seconds = seconds / (_RUN_SHARE * len(self._combinations))
        end = self._machine.now() + seconds
        self._climb(end)
        for round in range(1, ROUNDS):
            trials = self._contenders() if round > 1 else list(self.measured)
            for trial in trials if round % 2 == 0 else reversed(trials):
                if self._machine.now() >= end:
                    return
                self._look(trial)

    def _climb(self, end: float) -> None:
        """The first look at everything, small batches first."""
        combinations = self._combinations
        for rows in self._sizes:
            for combination in combinations:
                trial = Trial(combination, rows)
                if self.measured and self._machine.now() >= end:
                    return
                if self._has_time_for(trial):
                    self._look(trial)
            combinations = [combination for combination in combinations if self._keeps_up(Trial(combination, rows))]

    def _look(self, trial: Trial) -> None:
        if self._progress:
            self._progress(trial)
        combination, rows = trial.combination, trial.rows
        backend, batch = self._backends[combination.threads], self._probe.batch(rows)
        try:
            sample, answers = time_runs(self._machine, backend, batch, rows, combination.instances, self._look_seconds)
        except OutOfMemoryError:
            self._fail(trial, "it does not fit into the memory")
        except InferenceError as exc:
            self._fail(trial, f"it fails: {exc.detail}")
        else:
            if all(self._probe.agrees(outputs, rows) for outputs in answers):
                self.measured.setdefault(trial, Measurement()).samples.append(sample)
            else:
                self._fail(trial, "its answers are not those of one row alone, within the tolerance")

    def _fail(self, trial: Trial, why: str) -> None:
        self.failed[trial] = why
        self.measured.pop(trial, None)

    def _has_time_for(self, trial: Trial) -> bool:
        """Whether a run will not take too much of the time, going by the size before; one row never does."""
        smaller = [rows for rows in self._sizes if rows < trial.rows]
        if not smaller:
            return True
        before = Trial(trial.combination, smaller[-1])
        if before in self.measured and not self._is_short(before, trial.rows):
            self._look(before)  # other work may have spoilt the first look
        return before in self.measured and self._is_short(before, trial.rows)

    def _is_short(self, measured: Trial, rows: int) -> bool:
        return self.measured[measured].run_seconds * rows / measured.rows <= self._longest_run_seconds

    def _keeps_up(self, trial: Trial) -> bool:
        """Whether larger batches are worth a try; a second look decides, as other work may have spoilt the first."""
        if self._is_hopeful(trial.combination):
            return True
        if trial in self.measured:
            self._look(trial)
        return self._is_hopeful(trial.combination)

    def _is_hopeful(self, combination: Combination) -> bool:
        own = [found.rows_per_second for trial, found in self.measured.items() if trial.combination == combination]
        return combination == self._default.combination or max(own, default=0.0) >= HOPELESS * self._best_rate

    @property
    def _best_rate(self) -> float:
        return max((found.rows_per_second for found in self.measured.values()), default=0.0)

    def _contenders(self) -> list[Trial]:
        """What may still be the best; what the server does, with all batches, as it must not lose by bad luck; and one
        row alone with each combination of these."""
        enough = CONTENDING * self._best_rate
        good = {trial for trial, found in self.measured.items() if found.rows_per_second >= enough}
        good |= {Trial(self._default.combination, rows) for rows in self._sizes if rows <= self._default.rows}
        good |= {Trial(trial.combination, self._sizes[0]) for trial in good}
        return [trial for trial in self.measured if trial in good]

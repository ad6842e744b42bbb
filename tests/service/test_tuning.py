"""The tuner chooses what a model of known speed needs, whatever the machine does beside it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from service.backend.device import CPU
from service.tuning.choosing import Choice, choose, common_rows
from service.tuning.rendering import table
from service.tuning.report import Tuned
from service.tuning.trials import Combination, Measurement, Measurements, Sample, Trial
from service.tuning.wording import explain
from tests.service.simulated import SimulatedMachine, explore
from zoo.repository import ModelVersion

ROW = 0.001
DEFAULT = Trial(Combination(2, 1), 32)


def gains_nothing_by_threads(threads: int, rows: int) -> float:
    return ROW * rows


def gains_all_by_threads(threads: int, rows: int) -> float:
    return ROW * rows / threads


def costs_much_a_run(threads: int, rows: int) -> float:
    return (20 * ROW + ROW * rows) / threads


def outgrows_the_cache(threads: int, rows: int) -> float:
    return ROW * rows / threads * (1 if rows <= 4 else 2)


def chosen(
    seconds: Callable[[int, int], float], *, cores: int = 2, disturbed: float = 0.0, **properties: float
) -> Choice:
    default = Trial(Combination(cores, 1), 32)
    explorer = explore(SimulatedMachine(cores, disturbed=disturbed), seconds, default=default, **properties)
    choice = choose(explorer.measured, default)
    assert choice is not None
    return choice


def test_a_model_that_gains_nothing_by_threads_runs_side_by_side() -> None:
    choice = chosen(gains_nothing_by_threads)
    assert choice.best.trial == Trial(Combination(1, 2), 1)
    assert choice.gain == pytest.approx(2)
    assert choice.best.one_row_seconds == pytest.approx(ROW)


def test_the_default_is_kept_where_nothing_is_faster() -> None:
    choice = chosen(gains_all_by_threads)
    assert (choice.is_default, choice.gain) == (True, pytest.approx(1))


def test_of_what_is_as_fast_the_smallest_batch_is_chosen() -> None:
    choice = chosen(lambda threads, rows: (ROW + ROW * rows) / threads)
    assert choice.best.trial.rows == 16, "which has 97 % of the rate of 32 rows"


def test_batches_that_cost_more_a_row_are_not_chosen() -> None:
    choice = chosen(outgrows_the_cache)
    assert choice.best.trial.rows <= 4
    assert (choice.is_default, choice.gain) == (True, pytest.approx(2))


def test_what_gains_by_nothing_takes_one_core() -> None:
    choice = chosen(gains_nothing_by_threads, shares_memory_bus=True)
    assert choice.best.trial == Trial(Combination(1, 1), 1)
    assert choice.gain == pytest.approx(1)


@pytest.mark.parametrize(
    ("seconds", "combination"),
    [(gains_nothing_by_threads, Combination(1, 2)), (gains_all_by_threads, Combination(2, 1))],
)
@pytest.mark.parametrize("disturbed", [0.2, 0.5])
def test_a_noisy_machine_does_not_decide(
    seconds: Callable[[int, int], float], combination: Combination, disturbed: float
) -> None:
    assert chosen(seconds, disturbed=disturbed).best.trial.combination == combination


def test_sixteen_cores_are_searched_in_time() -> None:
    choice = chosen(lambda threads, rows: ROW * rows / min(threads, 4), cores=16)
    assert choice.best.trial.combination.cores == 16
    assert choice.best.trial.combination.threads <= 4
    assert choice.gain == pytest.approx(4)


def test_runs_that_take_too_long_are_not_tried() -> None:
    explorer = explore(SimulatedMachine(), lambda threads, rows: rows / threads, budget=10)
    assert {trial.rows for trial in explorer.measured} == {1}


def test_what_gives_other_answers_is_out_of_the_question() -> None:
    explorer = explore(SimulatedMachine(), costs_much_a_run, wrong_rows=16)
    assert {trial.rows for trial in explorer.failed} == {16}
    assert {trial.rows for trial in explorer.measured} == {1, 2, 4, 8}
    assert "its answers are not those of one row alone" in next(iter(explorer.failed.values()))


def test_what_does_not_fit_into_memory_is_out_of_the_question() -> None:
    explorer = explore(SimulatedMachine(), costs_much_a_run, memory_rows=8)
    assert set(explorer.failed.values()) == {"it does not fit into the memory"}
    choice = choose(explorer.measured, DEFAULT)
    assert choice is not None
    assert choice.default.trial.rows == 8, "the largest that there is"


def test_the_best_are_looked_at_most_often() -> None:
    explorer = explore(SimulatedMachine(), costs_much_a_run)
    looks = {trial.rows: len(found.samples) for trial, found in explorer.measured.items()}
    assert looks[32] > looks[4]


def rates(*samples: float) -> Measurement:
    return Measurement([Sample(rate, 1 / rate) for rate in samples])


@pytest.mark.parametrize(("looks", "sure"), [((200, 110), True), ((200, 90), False), ((200,), False)])
def test_what_was_faster_in_one_look_only_changes_nothing(looks: tuple[float, ...], sure: bool) -> None:
    faster = Trial(Combination(1, 2), 8)
    choice = choose({DEFAULT: rates(100, 90), faster: rates(*looks)}, DEFAULT)
    assert choice is not None
    assert (choice.best.trial, choice.unsure is None) == ((faster, True) if sure else (DEFAULT, False))


def test_what_is_as_good_on_more_cores_changes_nothing() -> None:
    default = Trial(Combination(1, 1), 32)
    choice = choose({default: rates(92, 92), Trial(Combination(1, 2), 8): rates(96, 96),
                     Trial(Combination(2, 1), 32): rates(100, 100)}, default)  # fmt: skip
    assert choice is not None
    assert choice.best.trial == default


def test_what_smaller_batches_alone_bring_is_known() -> None:
    assert chosen(outgrows_the_cache).gain_by_batch == pytest.approx(2)
    assert chosen(gains_nothing_by_threads).gain_by_batch == pytest.approx(1)


def test_nothing_is_said_without_the_default() -> None:
    assert choose({Trial(Combination(1, 1), 1): rates(1)}, DEFAULT) is None


ONE, TWO_THREADS, TWO_RUNS = Combination(1, 1), Combination(2, 1), Combination(1, 2)


@pytest.mark.parametrize(
    ("best", "rate", "words"),
    [
        (Trial(TWO_THREADS, 32), 100, "The default is as good: 1 run at a time on 2 threads, 100 rows/s"),
        (
            Trial(ONE, 32),
            98,
            "as fast as the default (1 run at a time on 2 threads, batches of up to 32: 100 rows/s), ",
        ),
        (Trial(ONE, 32), 98, "and leaves 1 of the cores to other work."),
        (
            Trial(TWO_RUNS, 32),
            150,
            "150 rows/s, 1.50 times the default (1 run at a time on 2 threads, batches of up to",
        ),
        (Trial(TWO_RUNS, 32), 150, "since a core brings more as a run of its own than as a thread of another run."),
        (Trial(TWO_THREADS, 8), 150, "since batches of 8 cost less a row than those of 32."),
        (Trial(ONE, 32), 150, "since more at a time only get into each other's way, and leaves 1 of the cores to"),
    ],
)
def test_a_choice_is_explained(best: Trial, rate: float, words: str) -> None:
    assert words in " ".join(explain(tuned({DEFAULT: rates(100, 100), best: rates(rate, rate)})))


def test_a_table_of_quick_models_fits_into_80_columns() -> None:
    measured = {Trial(Combination(2, 1), 2**power): rates(10_000 + power) for power in range(7)}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(tuned(measured)))
    text = console.export_text()
    assert all(f" {10_000 + power:,}" in text for power in range(7))
    assert "…" not in text


def tuned(measured: Measurements) -> Tuned:
    return Tuned(
        version=ModelVersion("model", 1, Path("model/1/model.onnx")),
        device=CPU,
        sizes=(8, 32),
        free_batch=True,
        configured=False,
        default=DEFAULT,
        measured=measured,
        failed={},
        choice=choose(measured, DEFAULT),
    )


@pytest.mark.parametrize(
    ("curves", "rows"),
    [
        ([{1: 10, 8: 50, 32: 100}], 32),
        ([{1: 100, 8: 100, 32: 50}], 1),
        ([{1: 100, 8: 99, 32: 96}], 32),
        ([{1: 10, 8: 90, 32: 100}, {1: 100, 8: 90, 32: 50}], 8),
        ([{1: 10, 8: 90, 32: 100}, {1: 100}], 32),
    ],
)
def test_one_limit_for_all_models(curves: list[dict[int, float]], rows: int) -> None:
    combination = Combination(1, 1)
    models: list[tuple[Measurements, Combination]] = [
        ({Trial(combination, size): rates(rate, rate) for size, rate in curve.items()}, combination) for curve in curves
    ]
    assert common_rows(models, (1, 8, 32), default=32) == rows


def test_the_limit_stays_where_another_was_better_once() -> None:
    combination = Combination(1, 1)
    measured = {Trial(combination, 8): rates(100, 50), Trial(combination, 32): rates(60, 60)}
    assert common_rows([(measured, combination)], (8, 32), default=32) == 32

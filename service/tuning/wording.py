"""Says in sentences what was chosen, and why."""

from __future__ import annotations

from collections.abc import Iterator

from service.tuning.choosing import AS_GOOD, Choice, Setting, share_of_best
from service.tuning.report import Report, Tuned

_NOISY = 0.25
"""A spread of the best trials above this is worth a word."""


def explain(model: Tuned) -> Iterator[str]:
    """The choice with its reason, and what else there is to know."""
    if model.choice is None:
        reason = next(iter(model.failed.values()), "there was no time")
        yield f"Nothing can be said: {_name(model)} could not be measured, as {reason}."
        return
    yield from _choice(model, model.choice)
    if left_out := [rows for rows in model.sizes if rows > max(trial.rows for trial in model.measured)]:
        yield (
            f"Batches of {left_out[0]} rows and more were left out: their runs take too long for the time that there "
            "was (--seconds)."
        )
    for trial, why in sorted(model.failed.items()):
        yield f"Out of the question: {trial.combination}, batches of {trial.rows}, as {why}."
    spread = max(model.measured[setting.trial].spread for setting in (model.choice.best, model.choice.default))
    if spread > _NOISY:
        yield (
            f"The same runs differed by up to {spread:.0%}: the machine does other work, too. The best look at each "
            "counts; look again when it is idle."
        )


def explain_limit(report: Report, default: int) -> Iterator[str]:
    """The server's limit of rows for all models, where one asks for it."""
    rows = report.max_batch_size(default)
    if rows == default:
        yield f"--max-batch-size {default} stays: no other limit suits all models better."
    elif rows is not None:
        shares = {name: share_of_best(*found, default) for name, found in report.asking.items()}
        name = min(shares, key=lambda name: shares[name])
        yield (
            f"Start the server with --max-batch-size {rows}, one limit for all models: with {default}, {name} has "
            f"{shares[name]:.0%} of its best rate, with {rows} {share_of_best(*report.asking[name], rows):.0%}."
        )


def _choice(model: Tuned, choice: Choice) -> Iterator[str]:
    best, default, name = choice.best, choice.default, _name(model)
    if choice.unsure:
        seen = choice.unsure.trial
        yield (
            f"{name.capitalize()} stays: {default.trial.combination}, {_speed(default)}. {seen.combination}, batches "
            f"of {seen.rows}, had {_speed(choice.unsure)} once, and not again: too uncertain to change anything for. "
            f"A request of one row takes {_time(default.one_row_seconds)}."
        )
        return
    if choice.is_default and not choice.is_faster:
        yield (
            f"{name.capitalize()} is as good: {default.trial.combination}, {_speed(default)}; nothing that was tried "
            f"is more than {1 - AS_GOOD:.0%} faster. A request of one row takes {_time(default.one_row_seconds)}."
        )
        return
    what = f"{best.trial.combination}, batches of up to {best.trial.rows}: {_speed(best)}"
    against = f"{name} ({default.trial.combination}, batches of up to {default.trial.rows}: {_speed(default)})"
    saved = default.trial.combination.cores - best.trial.combination.cores
    left = f", and leaves {saved} of the cores to other work" if saved > 0 else ""
    if not choice.is_faster:
        yield f"{what}, as fast as {against}{left}."
    else:
        yield f"{what}, {choice.gain:.2f} times {against}, since {_reason(choice)}{left}."
    yield (
        f"A request of one row takes {_time(best.one_row_seconds)} then, and {_time(default.one_row_seconds)} with "
        f"{name}."
    )


def _reason(choice: Choice) -> str:
    best, default = choice.best.trial, choice.default.trial
    mostly_by_batch = best.combination == default.combination or choice.gain_by_batch**2 >= choice.gain
    if mostly_by_batch and best.rows != default.rows:
        return f"batches of {best.rows} cost less a row than those of {default.rows}"
    if best.combination.instances > default.combination.instances:
        if best.combination.cores > default.combination.cores:
            return "another run beside the first uses a core that is idle otherwise"
        return "a core brings more as a run of its own than as a thread of another run"
    if best.combination.threads > default.combination.threads:
        return "a core brings more as a thread of one run than as a run of its own"
    return "more at a time only get into each other's way"


def _name(model: Tuned) -> str:
    return "the configuration" if model.configured else "the default"


def _speed(setting: Setting) -> str:
    return f"{setting.rows_per_second:,.0f} rows/s"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"

"""Splitting data into training, validation and test parts, reproducibly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.errors import DataError, SettingsError


@dataclass(frozen=True)
class Split:
    """Indexes of the items of each part, and one line that says how they were chosen."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    description: str

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def stratified_split(
    labels: Sequence[int], *, validation: float, test: float, seed: int, names: Sequence[str] = ()
) -> Split:
    """Split items so that each part has the classes in equal shares; the same labels and seed give the same split.

    Args:
        labels: class of each item.
        validation: share of the validation part; 0: none, for data that come with one.
        test: share of the test part; 0: none.
        seed: of the random choice.
        names: of the classes, for error messages.

    Raises:
        DataError: a class has too few items to be in every part.
        SettingsError: the shares leave nothing to train on.
    """
    check_shares(validation, test)
    rng = np.random.default_rng(seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in sorted(set(labels)):
        members = rng.permutation([index for index, value in enumerate(labels) if value == label]).tolist()
        sizes = [_part_size(len(members), share) for share in (validation, test)]
        if len(members) <= sum(sizes):
            name = names[label] if names else label
            raise DataError(
                f"class {name!r} has {len(members)} item(s), too few to be in every part; "
                f"it needs at least {1 + sum(share > 0 for share in (validation, test))}"
            )
        cuts = np.cumsum(sizes)
        for part, chosen in zip(
            parts, (members[cuts[1] :], members[: cuts[0]], members[cuts[0] : cuts[1]]), strict=True
        ):
            part.extend(chosen)
    train, held_out, last = (tuple(sorted(part)) for part in parts)
    return Split(train, held_out, last, f"stratified by class, seed {seed}: {count_parts(train, held_out, last)}")


def chronological_split(count: int, *, validation: float, test: float) -> Split:
    """Split items in order of time: the oldest are for training, the newest for the test.

    Raises:
        DataError: there are too few items for the parts.
        SettingsError: the shares leave nothing to train on.
    """
    check_shares(validation, test)
    sizes = [_part_size(count, share) for share in (validation, test)]
    first, second = count - sum(sizes), count - sizes[1]
    if first < 1:
        raise DataError(f"{count} item(s) cannot be cut into training, validation and test parts")
    parts = tuple(range(first)), tuple(range(first, second)), tuple(range(second, count))
    return Split(*parts, f"chronological: {count_parts(*parts)}")


def stratified_folds(
    labels: Sequence[int], count: int, *, seed: int, names: Sequence[str] = ()
) -> list[tuple[int, ...]]:
    """Cut items into folds that have the classes in equal shares, and differ in size by few items; each item is in one.

    Args:
        labels: class of each item.
        count: of folds.
        seed: of the random choice.
        names: of the classes, for error messages.

    Raises:
        DataError: a class has fewer items than there are folds.
    """
    rng = np.random.default_rng(seed)
    folds: list[list[int]] = [[] for _ in range(count)]
    dealt = 0
    for label in sorted(set(labels)):
        members = rng.permutation([index for index, value in enumerate(labels) if value == label]).tolist()
        if len(members) < count:
            name = names[label] if names else label
            raise DataError(
                f"class {name!r} has {len(members)} item(s) beside the test part, too few for {count} folds"
            )
        for place, member in enumerate(members, dealt):  # goes on where the class before ended
            folds[place % count].append(member)
        dealt += len(members)
    return [tuple(sorted(fold)) for fold in folds]


def rolling_origins(rows: int, count: int) -> list[tuple[int, int]]:
    """Cut time into `count` stretches of equal length, after a first one that is only trained on.

    Each is (begin, end): what lies before `begin` is the past to learn from, what lies before `end` is forecast.

    Raises:
        DataError: there are fewer rows than stretches.
    """
    length = rows // (count + 1)
    if not length:
        raise DataError(f"{rows} row(s) beside the test part cannot be cut into {count} folds and a first past")
    first = rows - count * length
    return [(begin, begin + length) for begin in range(first, rows, length)]


def _part_size(count: int, share: float) -> int:
    return max(1, round(count * share)) if share else 0


def check_shares(validation: float, test: float) -> None:
    """Refuse shares that leave nothing.

    Raises:
        SettingsError: they do.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise SettingsError(
            f"validation {validation:g} and test {test:g} of the data leave nothing to train on; "
            f"take shares of 0 or more that sum to less than 1"
        )


def count_parts(train: Sequence[int], validation: Sequence[int], test: Sequence[int]) -> str:
    """How many items each part has, for people."""
    return f"{len(train)} train / {len(validation)} validation / {len(test)} test"

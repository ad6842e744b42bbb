"""Items that belong together: photographs of one patient, sentences of one author.

A model that has seen some of a group knows more about the rest than about what comes from elsewhere, so a split never
cuts one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from training.data.split import Split, check_shares, count_parts, stratified_folds, stratified_split
from training.errors import DataError, SettingsError

_MOST_FOLDS = 20
"""Parts are made of whole folds, so a share is met to some 5 %."""


def find_groups(rule: str, names: Sequence[str], columns: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The group of each item.

    Args:
        rule: name of a column; or a regular expression with one pair of parentheses, which hold the group.
        names: of the items, such as `cats/patient7_03.jpg`.
        columns: other columns of the items' table; empty where there is none.

    Raises:
        SettingsError: the rule is no expression with one pair of parentheses, or no such column is there.
        DataError: it does not fit a name, or a cell is empty.
    """
    if "(" not in rule:
        return tuple(_cell(rule, name, cells) for name, cells in zip(names, columns, strict=True))
    try:
        pattern = re.compile(rule)
    except re.error as exc:
        raise SettingsError(f"--group {rule} is no regular expression: {exc}") from exc
    if pattern.groups != 1:
        raise SettingsError(f"--group {rule} has {pattern.groups} pairs of parentheses; it needs one, around the group")
    return tuple(_match(pattern, name) for name in names)


def _cell(column: str, name: str, cells: Mapping[str, str]) -> str:
    if column not in cells:
        found = f"the columns are {', '.join(cells)}" if cells else "the data are no table"
        raise SettingsError(f"--group {column}: there is no such column; {found}")
    if not cells[column]:
        raise DataError(f"{name} has nothing in the column {column!r}, which says what belongs together")
    return cells[column]


def _match(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.search(name)
    if match is None or not match[1]:
        raise DataError(f"--group {pattern.pattern} finds no group in {name}")
    return match[1]


def split_classes(
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int,
    names: Sequence[str] = (),
) -> Split:
    """Split by class, and by group where there are groups; errors as of `stratified_split` and `grouped_split`."""
    if groups:
        return grouped_split(labels, groups, validation=validation, test=test, seed=seed, names=names)
    return stratified_split(labels, validation=validation, test=test, seed=seed, names=names)


def class_folds(
    labels: Sequence[int], groups: Sequence[str], count: int, *, seed: int, names: Sequence[str] = ()
) -> list[tuple[int, ...]]:
    """Cut items into folds by class, and by group where there are groups; errors as of those two ways."""
    if groups:
        return grouped_folds(labels, groups, count, seed=seed, names=names)
    return stratified_folds(labels, count, seed=seed, names=names)


def grouped_split(
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int,
    names: Sequence[str] = (),
) -> Split:
    """Split items so that each group is in one part, and each part has the classes in shares as equal as that allows.

    Args:
        labels: class of each item.
        groups: group of each item.
        validation: share of the validation part; 0: none.
        test: share of the test part; 0: none.
        seed: of the random choice.
        names: of the classes, for error messages.

    Raises:
        DataError: there are too few groups, or a class is not in every part.
        SettingsError: the shares leave nothing to train on.
    """
    check_shares(validation, test)
    folds = _folds(labels, groups, min(_MOST_FOLDS, len(set(groups))), seed)
    sizes = [max(1, round(share * len(folds))) if share else 0 for share in (test, validation)]
    if sum(sizes) >= len(folds):
        raise DataError(f"{len(set(groups))} group(s) cannot be shared out among training, validation and test part")
    cuts = (0, sizes[0], sum(sizes), len(folds))
    last, held_out, train = (
        tuple(sorted(item for fold in folds[begin:end] for item in fold)) for begin, end in pairwise(cuts)
    )
    parts = (("training", train), ("validation", held_out), ("test", last))
    for part, items in parts:
        _check_classes(f"{part} part", items, labels, names)
    words = f"by {len(set(groups))} groups, as stratified by class as they allow, seed {seed}"
    return Split(train, held_out, last, f"{words}: {count_parts(train, held_out, last)}")


def grouped_folds(
    labels: Sequence[int], groups: Sequence[str], count: int, *, seed: int, names: Sequence[str] = ()
) -> list[tuple[int, ...]]:
    """Cut items into folds, each group in one of them; arguments as of `grouped_split`.

    Raises:
        DataError: there are fewer groups than folds, or a class is not in every fold.
    """
    if len(set(groups)) < count:
        raise DataError(f"{len(set(groups))} group(s) beside the test part are too few for {count} folds")
    folds = _folds(labels, groups, count, seed)
    for number, fold in enumerate(folds, 1):
        _check_classes(f"fold {number}", fold, labels, names)
    return folds


def _folds(labels: Sequence[int], groups: Sequence[str], count: int, seed: int) -> list[tuple[int, ...]]:
    from sklearn.model_selection import StratifiedGroupKFold

    if count < 2:
        raise DataError("all items are of one group, which cannot be cut")
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small classes, which are checked where it matters
        try:
            found = [fold for _, fold in splitter.split(np.zeros(len(labels)), labels, groups)]
        except ValueError as exc:  # it wants a class with so many items
            raise DataError(f"{len(labels)} items in {len(set(groups))} groups are too few: {exc}") from exc
    return [tuple(int(item) for item in fold) for fold in found]


def _check_classes(part: str, items: Sequence[int], labels: Sequence[int], names: Sequence[str]) -> None:
    if not items:  # a share of 0
        return
    missing = set(labels) - {labels[item] for item in items}
    if missing:
        name = names[min(missing)] if names else min(missing)
        raise DataError(f"the {part} would have nothing of class {name!r}: its items are in too few groups")

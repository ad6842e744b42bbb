"""Splits: reproducible, stratified, in order of time, and hashed."""

from __future__ import annotations

from collections import Counter

import pytest

from training.data.split import chronological_split, rolling_origins, stratified_folds, stratified_split
from training.errors import DataError, SettingsError
from training.hashing import manifest_hash

LABELS = [0] * 100 + [1] * 40 + [2] * 20


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    first = stratified_split(LABELS, validation=0.15, test=0.2, seed=7)
    assert first == stratified_split(LABELS, validation=0.15, test=0.2, seed=7)
    assert first.test != stratified_split(LABELS, validation=0.15, test=0.2, seed=8).test


def test_each_part_has_every_class_in_its_share_and_each_item_is_in_one_part() -> None:
    split = stratified_split(LABELS, validation=0.15, test=0.2, seed=0)
    assert Counter(LABELS[index] for index in split.test) == {0: 20, 1: 8, 2: 4}
    assert Counter(LABELS[index] for index in split.validation) == {0: 15, 1: 6, 2: 3}
    assert sorted(split.train + split.validation + split.test) == list(range(160))
    assert split.description == "stratified by class, seed 0: 104 train / 24 validation / 32 test"


def test_the_share_0_gives_an_empty_part() -> None:
    split = stratified_split(LABELS, validation=0, test=0.2, seed=0)
    assert split.validation == ()
    assert len(split.train) == 128


def test_a_class_with_too_few_items_is_named() -> None:
    with pytest.raises(DataError, match=r"class 'rose' has 2 item\(s\).* at least 3"):
        stratified_split([0] * 10 + [1] * 2, validation=0.1, test=0.1, seed=0, names=["daisy", "rose"])


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"0.6 and test 0.5"):
        stratified_split(LABELS, validation=0.6, test=0.5, seed=0)


def test_a_chronological_split_keeps_the_order() -> None:
    split = chronological_split(10, validation=0.2, test=0.3)
    assert split.parts() == {"train": (0, 1, 2, 3, 4), "validation": (5, 6), "test": (7, 8, 9)}


def test_the_hash_of_a_manifest_depends_on_names_and_contents_but_not_on_order() -> None:
    items = [("a/1", "0f"), ("b/2", "1e")]
    assert manifest_hash(items) == manifest_hash(reversed(items))
    assert manifest_hash(items) != manifest_hash([("a/1", "1e"), ("b/2", "0f")])
    assert manifest_hash(items) != manifest_hash([("a/1", "0f"), ("b/3", "1e")])


def test_folds_have_the_classes_in_equal_shares_and_each_item_once() -> None:
    folds = stratified_folds(LABELS, 3, seed=0)
    assert sorted(item for fold in folds for item in fold) == list(range(160))
    assert [len(fold) for fold in folds] == [54, 53, 53]
    for fold in folds:
        counts = Counter(LABELS[item] for item in fold)
        assert all(abs(counts[label] - size / 3) < 1 for label, size in ((0, 100), (1, 40), (2, 20)))
    assert folds == stratified_folds(LABELS, 3, seed=0) != stratified_folds(LABELS, 3, seed=1)


def test_rolling_origins_cover_all_time_after_a_first_past() -> None:
    assert rolling_origins(23, 4) == [(7, 11), (11, 15), (15, 19), (19, 23)]
    with pytest.raises(DataError, match="3 row"):
        rolling_origins(3, 4)

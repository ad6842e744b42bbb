"""The repository: what is listed, and publication that is whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cards import image_card
from tests.graphs import image_graph
from zoo.errors import RepositoryError
from zoo.package import read_card
from zoo.repository import find_model, publish, scan


def publish_one(repository: Path, name: str = "shades", version: int | None = None) -> int:
    return publish(image_graph(), image_card(), repository, name, version).version


def test_published_versions_count_up_and_are_listed(tmp_path: Path) -> None:
    assert [publish_one(tmp_path / "zoo"), publish_one(tmp_path / "zoo")] == [1, 2]
    assert publish_one(tmp_path / "zoo", version=10) == 10
    assert publish_one(tmp_path / "zoo") == 11
    found = scan(tmp_path / "zoo")
    assert [(item.name, item.version) for item in found.versions] == [("shades", number) for number in (1, 2, 10, 11)]
    assert not found.problems
    assert read_card(found.versions[0].path) == image_card()


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    publish_one(tmp_path, version=3)
    with pytest.raises(RepositoryError, match="version 3 exists already"):
        publish_one(tmp_path, version=3)
    with pytest.raises(RepositoryError, match="version 0 is not a positive integer"):
        publish_one(tmp_path, version=0)


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "-flag", "a b", "x" * 129, "näme", "a\n"])
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RepositoryError, match="cannot name a model"):
        publish_one(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_version_is_a_problem_or_ignored(tmp_path: Path) -> None:
    publish_one(tmp_path)
    for folder in ("empty", "has space/1", "nofile/2", "zero/0", "shades/latest", ".git/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("a file")
    found = scan(tmp_path)
    assert [(item.name, item.version) for item in found.versions] == [("shades", 1)]
    assert {(problem.name, problem.version) for problem in found.problems} == {
        ("empty", None),
        ("has space", None),
        ("nofile", 2),
        ("zero", None),
    }


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="nowhere cannot be read as a model repository: No such file"):
        scan(tmp_path / "nowhere")


def test_a_folder_that_may_not_be_searched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_one(tmp_path)

    def forbidden(self: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", forbidden)  # chmod would not keep root out
    with pytest.raises(RepositoryError, match="shades cannot be read as a model repository: Permission denied"):
        scan(tmp_path)
    with pytest.raises(RepositoryError, match="1 cannot be read as a model repository: Permission denied"):
        find_model(tmp_path / "shades")


def test_publishers_at_once_get_a_version_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: publish_one(tmp_path), range(16)))
    assert sorted(versions) == list(range(1, 17))
    assert sorted(int(entry.name) for entry in (tmp_path / "shades").iterdir()) == list(range(1, 17))


def test_publishers_of_one_number_do_not_hurt_each_other(tmp_path: Path) -> None:
    def publish_first(_: int) -> str:
        try:
            return str(publish_one(tmp_path, version=1))
        except RepositoryError as exc:
            return str(exc)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(publish_first, range(8)))
    assert answers.count("1") == 1
    assert all("exists already" in answer or "by somebody else" in answer for answer in answers if answer != "1")
    assert [entry.name for entry in (tmp_path / "shades").iterdir()] == ["1"]
    assert read_card(tmp_path / "shades" / "1" / "model.onnx") == image_card()


def test_the_highest_version_is_the_last(tmp_path: Path) -> None:
    publish_one(tmp_path, version=10**18 - 1)
    with pytest.raises(RepositoryError, match="the highest there can be"):
        publish_one(tmp_path)
    with pytest.raises(RepositoryError, match="at most 18 digits"):
        publish_one(tmp_path, version=10**18)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        publish_one(tmp_path)
    assert list(tmp_path.iterdir()) == []


_PUBLISH_FOREVER = """
import sys
from pathlib import Path
from tests.cards import image_card
from tests.graphs import image_graph
from zoo.repository import publish
print("ready", flush=True)
while True:
    publish(image_graph(), image_card(), Path(sys.argv[1]), "shades")
"""


def test_killed_while_publishing_every_version_is_whole(tmp_path: Path) -> None:
    for delay in (0.01, 0.03, 0.06):
        process = subprocess.Popen([sys.executable, "-c", _PUBLISH_FOREVER, tmp_path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
    versions = scan(tmp_path).versions
    assert versions
    assert all(read_card(item.path) == image_card() for item in versions)
    assert publish_one(tmp_path) == versions[-1].version + 1

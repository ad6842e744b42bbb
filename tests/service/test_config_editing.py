"""Instances and threads are set in a `config.pbtxt` that people wrote, and nothing else in it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.triton import edit_config, read_model_settings, scan
from tests.service import plain_graphs
from tests.service.triton_layout import add_model
from zoo.errors import PackageError

MANY_FIELDS = """\
# Written by hand; instance_group { is a word here }.
name: "model"  platform: 'onnxruntime_onnx'
max_batch_size:8
output [ { name: "y" label_filename: "labels{.txt" } ]
instance_group [ { count: 1 }, { count: 2 } ]  # was tried in March
parameters { key: "gpu_mem_limit" value { string_value: "1073741824" } }
parameters: < key: "intra_op_thread_count" value: < string_value: "4" > >
dynamic_batching { }
"""
EDITED = """\
# Written by hand; instance_group { is a word here }.
name: "model"  platform: 'onnxruntime_onnx'
max_batch_size:8
output [ { name: "y" label_filename: "labels{.txt" } ]
instance_group [ { count: 2 } ]  # was tried in March
parameters { key: "gpu_mem_limit" value { string_value: "1073741824" } }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
dynamic_batching { }
"""


def model(tmp_path: Path, config: str) -> Path:
    folder = add_model(tmp_path, "model", "", plain_graphs.affine())
    (folder / "config.pbtxt").write_text(config)
    return folder


def test_all_else_stays_to_the_letter(tmp_path: Path) -> None:
    folder = model(tmp_path, MANY_FIELDS.replace("labels{", "labels"))
    edit = edit_config(folder, instances=2, threads=1, on_cpu=True)
    edit.write()
    assert edit.path.read_text() == EDITED.replace("labels{", "labels")
    assert edit.changes == (
        "instance_group: count: 1, count: 2 -> count: 2",
        "parameters[intra_op_thread_count]: 4 -> 1",
    )
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


def test_what_says_so_already_stays_as_it_is(tmp_path: Path) -> None:
    folder = model(tmp_path, EDITED.replace("labels{", "labels"))
    edit = edit_config(folder, instances=2, threads=1, on_cpu=True)
    assert (edit.changes, edit.text) == ((), EDITED.replace("labels{", "labels"))


@pytest.mark.parametrize(
    "config",
    [
        "",
        "max_batch_size: 4",
        "instance_group { count: 7 kind: KIND_CPU }",
        "instance_group { }, instance_group { name: 'b' } max_batch_size: 4",
        "instance_group [\n  # one\n  { count: 1 }\n]\nparameters { key: 'x' value { string_value: '}' } }",
        'default_model_filename: "model.onnx" instance_group <count: 3>',
    ],
)
def test_files_of_every_style_can_be_edited(tmp_path: Path, config: str) -> None:
    folder = model(tmp_path, config)
    before = read_model_settings(folder)
    edit_config(folder, instances=2, threads=3, on_cpu=True).write()
    after = read_model_settings(folder)
    assert (after.instances, after.threads, after.max_batch_rows) == (2, 3, before.max_batch_rows)
    assert edit_config(folder, instances=2, threads=3, on_cpu=True).changes == ()


def test_a_new_file_serves_the_versions_that_were_served(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "model", "", plain_graphs.affine(), plain_graphs.affine())
    (folder / "config.pbtxt").unlink()
    served = scan(tmp_path).versions
    edit = edit_config(folder, instances=2, threads=1, on_cpu=True)
    edit.write()
    assert scan(tmp_path).versions == served
    assert len(served) == 2
    assert edit.text == edit.lines
    assert edit.changes[1:] == (
        "instance_group: none -> count: 2 kind: KIND_CPU",
        "parameters[intra_op_thread_count]: none -> 1",
    )


def test_instances_on_gpus_are_divided_among_them_and_stay_there(tmp_path: Path) -> None:
    folder = model(tmp_path, "instance_group { name: 'g' kind: KIND_GPU gpus: [ 0, 1 ] }")
    edit = edit_config(folder, instances=4, threads=None, on_cpu=False)
    assert edit.text == 'instance_group [ { name: "g" count: 2 gpus: 0 gpus: 1 kind: KIND_GPU } ]'


def test_a_file_that_cannot_be_edited_is_left_alone_with_the_lines_to_set(tmp_path: Path) -> None:
    text = """parameters [ { key: "x" value { string_value: "1" } },
                           { key: "intra_op_thread_count" value { string_value: "4" } } ]"""
    folder = model(tmp_path, text)
    with pytest.raises(PackageError, match=r"cannot be edited here; set\ninstance_group \[ \{ count: 2"):
        edit_config(folder, instances=2, threads=1, on_cpu=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = model(tmp_path, "")
    edit = edit_config(folder, instances=2, threads=1, on_cpu=True)
    (folder / "config.pbtxt").unlink()
    (folder / "config.pbtxt").mkdir()
    with pytest.raises(PackageError, match=r"config.pbtxt cannot be written: Is a directory"):
        edit.write()
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []

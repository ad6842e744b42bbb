"""Every field of a configuration is honoured, passed over with a reason, or refused by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.model_config_pb2 import ModelConfig
from service.models.model_settings import DEFAULTS, Fact, Placement, QueuePolicy
from service.triton import read_model_settings, scan
from service.triton.fields import HONOURED, PASSED_OVER, check_fields
from tests.conftest import ROOT
from tests.service.triton_layout import ACCUMULATOR, add_model
from zoo.errors import PackageError


def fields(message: Descriptor, path: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """Every field, with its path; of maps, the fields of their values. Recursion ends at what is refused as a whole."""
    for field in message.fields:
        name = f"{path}{field.name}"
        yield name, field
        child = field.message_type
        if child is not None and child.GetOptions().map_entry:
            child = child.fields_by_name["value"].message_type
        if child is not None and (name in HONOURED or name == "optimization"):
            yield from fields(child, f"{name}.")


ALL = dict(fields(ModelConfig.DESCRIPTOR))


def setting(path: str) -> ModelConfig:
    """A configuration in which only this field is set, and the groups that it is in."""
    config = ModelConfig()
    message: Any = config
    *groups, last = path.split(".")
    for group in groups:
        message = enter(message, group)
    field = message.DESCRIPTOR.fields_by_name[last]
    if field.message_type is not None:
        child = enter(message, last)
        if hasattr(child, "SetInParent"):
            child.SetInParent()
        return config
    value: Any = {FieldDescriptor.CPPTYPE_STRING: "x", FieldDescriptor.CPPTYPE_BOOL: True}.get(field.cpp_type, 1)
    if field.is_repeated:
        getattr(message, last).append(value)
    else:
        setattr(message, last, value)
    return config


def enter(message: Any, name: str) -> Any:
    """The message in a field, made where it is not there."""
    field, value = message.DESCRIPTOR.fields_by_name[name], getattr(message, name)
    if field.message_type.GetOptions().map_entry:
        entry = field.message_type
        key: Any = "k" if entry.fields_by_name["key"].cpp_type == FieldDescriptor.CPPTYPE_STRING else 1
        if entry.fields_by_name["value"].message_type is None:
            value[key] = "v"
            return None
        return value[key]
    return value.add() if field.is_repeated else value


@pytest.mark.parametrize("path", ALL)
def test_every_field_is_judged(path: str) -> None:
    enum_with_one_value = ALL[path].enum_type is not None and len(ALL[path].enum_type.values) == 1
    assert not enum_with_one_value, "0 would be all that can be set"
    config = setting(path)
    group = next((own for own in PASSED_OVER if path == own or path.startswith(f"{own}.")), None)
    if path in HONOURED or path == "optimization":
        assert check_fields(config, "config.pbtxt") == ()
    elif group:
        (note,) = check_fields(config, "config.pbtxt")
        assert PASSED_OVER[group] in note
    else:
        with pytest.raises(
            PackageError, match=r"config.pbtxt: the field '.*' is not supported by this server"
        ) as error:
            check_fields(config, "config.pbtxt")
        assert path.rpartition(".")[2] in str(error.value)


def test_the_lists_name_fields_that_exist() -> None:
    assert set(ALL) >= HONOURED
    assert set(ALL) >= set(PASSED_OVER)
    assert not HONOURED & set(PASSED_OVER)


def test_the_documentation_names_what_is_honoured_and_what_is_passed_over() -> None:
    text = (ROOT / "docs" / "triton.md").read_text()
    honoured, passed_over, refused = text.split("## ")[1:]
    assert not [path for path in PASSED_OVER if f"`{path}`" not in passed_over]
    assert not [path for path in HONOURED if "." not in path and f"`{path}`" not in honoured]
    assert not [path for path in ALL if f"`{path}`" in refused and (path in HONOURED or path in PASSED_OVER)]


def test_what_a_configuration_says(tmp_path: Path) -> None:
    folder = add_model(
        tmp_path,
        "model",
        """
        max_batch_size: 8
        input [ { name: "image" data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] format: FORMAT_NCHW } ]
        output [ { name: "classes" label_filename: "labels.txt" } ]
        instance_group [ { count: 2 kind: KIND_GPU gpus: [ 0, 1 ] }, { kind: KIND_GPU } ]
        optimization { cuda { graphs: true } }
        parameters { key: "gpu_mem_limit" value { string_value: "4294967296" } }
        parameters { key: "intra_op_thread_count" value { string_value: "3" } }
        dynamic_batching {
          max_queue_delay_microseconds: 2500
          priority_levels: 5
          default_priority_level: 3
          default_queue_policy { default_timeout_microseconds: 1000000 max_queue_size: 7 }
          priority_queue_policy { key: 1 value { default_timeout_microseconds: 500000 allow_timeout_override: true } }
        }
        """,
    )
    (folder / "labels.txt").write_text("cat\ndog\n\n", encoding="utf-8")
    found = read_model_settings(folder)
    (image,) = found.inputs
    assert (image.name, image.datatype, image.dims, image.image) == ("image", "UINT8", (3, -1, -1), "NCHW")
    assert found.labels == {"classes": ("cat", "dog")}
    assert (found.instances, found.threads, found.placement, found.gpus) == (5, 3, Placement.GPU, (0, 1))
    assert (found.cuda_graphs, found.gpu_memory_bytes, found.notes) == (True, 4 * 2**30, ())
    assert found.max_delay_seconds == 0.0025
    assert found.priorities is not None
    assert [found.priorities.level(wanted) for wanted in (0, 1, 5, 6)] == [3, 1, 5, 3]
    assert found.policy(3) == QueuePolicy(1.0, False, 7)
    assert found.policy(1) == QueuePolicy(0.5, True, None)
    assert [QueuePolicy(0.5, True).timeout(wanted) for wanted in (None, 0.2, 3.0)] == [0.5, 0.2, 0.5]
    assert [QueuePolicy(0.5, False).timeout(wanted) for wanted in (None, 0.2, 3.0)] == [0.5, 0.5, 0.5]
    assert [QueuePolicy(None, True).timeout(wanted) for wanted in (None, 0.2)] == [None, 0.2]


def test_memory_of_a_gpu_is_a_number_of_bytes(tmp_path: Path) -> None:
    for value in ("4 GiB", "0", ""):
        text = f'parameters {{ key: "gpu_mem_limit" value {{ string_value: "{value}" }} }}'
        folder = add_model(tmp_path, f"model{len(value)}", text)
        with pytest.raises(
            PackageError, match=r"config.pbtxt: parameters\[gpu_mem_limit\] is '.*'; use a number of bytes"
        ):
            read_model_settings(folder)


@pytest.mark.parametrize("value", ["two", "-1", "", "257", "\u0663"])
def test_threads_are_a_number(tmp_path: Path, value: str) -> None:
    text = f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{value}" }} }}'
    folder = add_model(tmp_path, "model", text)
    with pytest.raises(PackageError, match=r"parameters\[intra_op_thread_count\] is '.*'; use 1 to 256, or 0 for the"):
        read_model_settings(folder)


def test_0_threads_are_those_of_the_server(tmp_path: Path) -> None:
    text = 'parameters { key: "intra_op_thread_count" value { string_value: "0" } }'
    assert read_model_settings(add_model(tmp_path, "model", text)).threads is None


def test_sequences_of_a_configuration(tmp_path: Path) -> None:
    folder = add_model(
        tmp_path,
        "model",
        """
        max_batch_size: 8
        sequence_batching {
          max_sequence_idle_microseconds: 250000
          direct { max_queue_delay_microseconds: 100 minimum_slot_utilization: 0.5 }
          control_input { name: "ready" control { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ -1, 2 ] } }
          control_input { name: "id" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } }
          state {
            input_name: "h" output_name: "next" data_type: TYPE_INT32 dims: [ 2 ]
            initial_state { name: "first" data_type: TYPE_INT32 dims: [ 2 ] data_file: "h.bin" }
          }
        }
        """,
    )
    (folder / "initial_state").mkdir()
    (folder / "initial_state" / "h.bin").write_bytes(b"\x01\0\0\0\x02\0\0\0")
    found = read_model_settings(folder)
    assert found.sequence is not None
    assert (found.sequence.idle_seconds, found.max_delay_seconds) == (0.25, 0.0001)
    ready, key = found.sequence.controls
    assert (ready.input, ready.fact, ready.datatype, ready.false, ready.true) == ("ready", Fact.READY, "FP32", -1, 2)
    assert (key.fact, key.datatype) == (Fact.ID, "BYTES")
    (state,) = found.sequence.states
    first = state.first()
    assert first.tolist() == [1, 2]
    first[0] = 9  # type: ignore[assignment]  # an array of integers
    assert state.first().tolist() == [1, 2], "each sequence has its own"


def test_without_a_configuration_nothing_is_set(tmp_path: Path) -> None:
    assert read_model_settings(tmp_path) is DEFAULTS
    (tmp_path / "config.pbtxt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PackageError, match="'config.pbtxt' cannot be read: No such file"):
        read_model_settings(tmp_path)


def test_a_load_request_takes_the_place_of_the_file(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "model", "max_batch_size: 8")
    assert read_model_settings(folder, '{"max_batch_size": "16"}').max_batch_rows == 16
    for text, reason in (("{", "the configuration cannot be read"), ('{"max_batch": 1}', "no field named")):
        with pytest.raises(PackageError, match=reason):
            read_model_settings(folder, text)
    with pytest.raises(PackageError, match="the configuration of the load request: the field 'model_operations'"):
        read_model_settings(folder, '{"model_operations": {"op_library_filename": ["evil.so"]}}')


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", [12]),
        ("version_policy { latest { num_versions: 2 } }", [3, 12]),
        ("version_policy { all { } }", [1, 2, 3, 12]),
        ("version_policy { specific { versions: [ 2, 12, 40 ] } }", [2, 12]),
    ],
)
def test_version_policies(tmp_path: Path, policy: str, versions: list[int]) -> None:
    folder = add_model(tmp_path, "model", policy, b"", b"", b"")
    (folder / "12").mkdir()
    (folder / "12" / "model.onnx").touch()
    found = scan(tmp_path)
    assert [version.version for version in found.versions] == versions
    assert not found.problems


def test_a_version_policy_that_chooses_nothing_is_a_problem(tmp_path: Path) -> None:
    add_model(tmp_path, "model", "version_policy { specific { versions: [ 7 ] } }", b"", b"")
    (problem,) = scan(tmp_path).problems
    assert problem.reason == "version_policy chooses none of the versions that are there: 1, 2"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    labels = add_model(tmp_path, "labels", 'output { name: "y" label_filename: "labels.txt" }')
    (labels / "labels.txt").symlink_to(outside / "secret.txt")
    state = add_model(
        tmp_path,
        "state",
        """
        sequence_batching { state { input_name: "h" output_name: "n" data_type: TYPE_UINT8 dims: [ 6 ]
          initial_state { data_type: TYPE_UINT8 dims: [ 6 ] data_file: "secret.txt" name: "first" } } }
        """,
    )
    (state / "initial_state").symlink_to(outside)
    for folder in (labels, state):
        with pytest.raises(PackageError, match=r"is a link out of the model's folder"):
            read_model_settings(folder)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_text_gives_settings_or_an_error_of_its_own(tmp_path: Path, data: st.DataObject) -> None:
    tokens = ACCUMULATOR.split()
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(tokens) - 1))
        words = st.one_of(st.sampled_from([*tokens, "-1", "0", "{", "}", "99999999999"]), st.text(max_size=8))
        tokens[place : place + data.draw(st.integers(0, 2))] = [data.draw(words)]
    folder = tmp_path / "accumulate"
    folder.mkdir(exist_ok=True)
    (folder / "config.pbtxt").write_text(" ".join(tokens), encoding="utf-8", errors="surrogatepass")
    try:
        found = read_model_settings(folder)
    except PackageError as exc:
        assert len(str(exc)) < 2000
    else:
        assert ModelConfig.FromString(found.source)
    scan(tmp_path)


def test_the_example_parses() -> None:
    assert text_format.Parse(ACCUMULATOR, ModelConfig()).name == "accumulate"

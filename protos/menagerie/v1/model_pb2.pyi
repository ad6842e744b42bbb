import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_IMAGE_CLASSIFICATION: _ClassVar[Task]
    TASK_TEXT_CLASSIFICATION: _ClassVar[Task]
    TASK_FORECAST: _ClassVar[Task]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_READY: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]
    MODEL_STATE_UNLOADING: _ClassVar[ModelState]
    MODEL_STATE_UNLOADED: _ClassVar[ModelState]
TASK_UNSPECIFIED: Task
TASK_IMAGE_CLASSIFICATION: Task
TASK_TEXT_CLASSIFICATION: Task
TASK_FORECAST: Task
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_READY: ModelState
MODEL_STATE_FAILED: ModelState
MODEL_STATE_UNLOADING: ModelState
MODEL_STATE_UNLOADED: ModelState

class ModelRef(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ModelSummary(_message.Message):
    __slots__ = ("model", "task", "state", "reason", "description")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    task: Task
    state: ModelState
    reason: str
    description: str
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., task: _Optional[_Union[Task, str]] = ..., state: _Optional[_Union[ModelState, str]] = ..., reason: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ModelDescription(_message.Message):
    __slots__ = ("summary", "inputs", "outputs", "image", "text", "forecast", "test_metrics", "licence", "provenance", "device", "execution_provider", "device_note")
    class TestMetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    TEST_METRICS_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NOTE_FIELD_NUMBER: _ClassVar[int]
    summary: ModelSummary
    inputs: _containers.RepeatedCompositeFieldContainer[TensorDescription]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorDescription]
    image: ImageDetails
    text: TextDetails
    forecast: ForecastDetails
    test_metrics: _containers.ScalarMap[str, float]
    licence: str
    provenance: Provenance
    device: str
    execution_provider: str
    device_note: str
    def __init__(self, summary: _Optional[_Union[ModelSummary, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[TensorDescription, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorDescription, _Mapping]]] = ..., image: _Optional[_Union[ImageDetails, _Mapping]] = ..., text: _Optional[_Union[TextDetails, _Mapping]] = ..., forecast: _Optional[_Union[ForecastDetails, _Mapping]] = ..., test_metrics: _Optional[_Mapping[str, float]] = ..., licence: _Optional[str] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., device: _Optional[str] = ..., execution_provider: _Optional[str] = ..., device_note: _Optional[str] = ...) -> None: ...

class TensorDescription(_message.Message):
    __slots__ = ("name", "datatype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class ImageDetails(_message.Message):
    __slots__ = ("labels", "height_px", "width_px", "preprocessing")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    height_px: int
    width_px: int
    preprocessing: str
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., height_px: _Optional[int] = ..., width_px: _Optional[int] = ..., preprocessing: _Optional[str] = ...) -> None: ...

class TextDetails(_message.Message):
    __slots__ = ("labels", "max_tokens", "language")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    max_tokens: int
    language: str
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., max_tokens: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class ForecastDetails(_message.Message):
    __slots__ = ("features", "targets", "window_steps", "horizon_steps", "step_seconds", "stateful", "interval_coverage")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_STEPS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_STEPS_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STATEFUL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[Quantity]
    targets: _containers.RepeatedCompositeFieldContainer[Quantity]
    window_steps: int
    horizon_steps: int
    step_seconds: int
    stateful: bool
    interval_coverage: float
    def __init__(self, features: _Optional[_Iterable[_Union[Quantity, _Mapping]]] = ..., targets: _Optional[_Iterable[_Union[Quantity, _Mapping]]] = ..., window_steps: _Optional[int] = ..., horizon_steps: _Optional[int] = ..., step_seconds: _Optional[int] = ..., stateful: _Optional[bool] = ..., interval_coverage: _Optional[float] = ...) -> None: ...

class Quantity(_message.Message):
    __slots__ = ("name", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("created", "recipe", "data", "data_sha256", "weights_source", "seed", "versions")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CREATED_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DATA_SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    created: _timestamp_pb2.Timestamp
    recipe: str
    data: str
    data_sha256: str
    weights_source: str
    seed: int
    versions: _containers.ScalarMap[str, str]
    def __init__(self, created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., recipe: _Optional[str] = ..., data: _Optional[str] = ..., data_sha256: _Optional[str] = ..., weights_source: _Optional[str] = ..., seed: _Optional[int] = ..., versions: _Optional[_Mapping[str, str]] = ...) -> None: ...

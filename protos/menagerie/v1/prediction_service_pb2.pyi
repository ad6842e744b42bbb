import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from menagerie.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyImagesRequest(_message.Message):
    __slots__ = ("model", "images", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    images: _containers.RepeatedScalarFieldContainer[bytes]
    top_k: int
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., images: _Optional[_Iterable[bytes]] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyImagesResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    results: _containers.RepeatedCompositeFieldContainer[Classification]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., results: _Optional[_Iterable[_Union[Classification, _Mapping]]] = ...) -> None: ...

class ClassifyTextsRequest(_message.Message):
    __slots__ = ("model", "texts", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    texts: _containers.RepeatedScalarFieldContainer[str]
    top_k: int
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyTextsResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    results: _containers.RepeatedCompositeFieldContainer[Classification]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., results: _Optional[_Iterable[_Union[Classification, _Mapping]]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("classes",)
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[ClassScore]
    def __init__(self, classes: _Optional[_Iterable[_Union[ClassScore, _Mapping]]] = ...) -> None: ...

class ClassScore(_message.Message):
    __slots__ = ("label", "index", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    index: int
    probability: float
    def __init__(self, label: _Optional[str] = ..., index: _Optional[int] = ..., probability: _Optional[float] = ...) -> None: ...

class ForecastRequest(_message.Message):
    __slots__ = ("model", "histories")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HISTORIES_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    histories: _containers.RepeatedCompositeFieldContainer[History]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., histories: _Optional[_Iterable[_Union[History, _Mapping]]] = ...) -> None: ...

class History(_message.Message):
    __slots__ = ("columns", "end_time")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class ForecastResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    results: _containers.RepeatedCompositeFieldContainer[ForecastTable]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., results: _Optional[_Iterable[_Union[ForecastTable, _Mapping]]] = ...) -> None: ...

class ForecastTable(_message.Message):
    __slots__ = ("columns", "times", "lower", "upper", "coverage")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    times: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    lower: _containers.RepeatedCompositeFieldContainer[Column]
    upper: _containers.RepeatedCompositeFieldContainer[Column]
    coverage: float
    def __init__(self, columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., times: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ..., lower: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., upper: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., coverage: _Optional[float] = ...) -> None: ...

class ForecastStreamRequest(_message.Message):
    __slots__ = ("model", "reading")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    READING_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    reading: Reading
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., reading: _Optional[_Union[Reading, _Mapping]] = ...) -> None: ...

class Reading(_message.Message):
    __slots__ = ("values", "time")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, float]
    time: _timestamp_pb2.Timestamp
    def __init__(self, values: _Optional[_Mapping[str, float]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ForecastStreamResponse(_message.Message):
    __slots__ = ("model", "forecast", "missing_readings")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    MISSING_READINGS_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelRef
    forecast: ForecastTable
    missing_readings: int
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelRef, _Mapping]] = ..., forecast: _Optional[_Union[ForecastTable, _Mapping]] = ..., missing_readings: _Optional[int] = ...) -> None: ...

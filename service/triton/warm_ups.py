"""`model_warmup` of a configuration: requests to run before the model serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.model_config_pb2 import ModelConfig, ModelWarmup
from service.models.catalog import WARM_UPS
from service.models.model_settings import WarmUp
from service.triton.files import read_tensor
from service.triton.values import datatype_name, fixed_shape, random_values, zeros
from zoo.errors import PackageError

_MAX_COUNT = 1000


def warm_ups(config: ModelConfig, folder: Path) -> tuple[WarmUp, ...]:
    """The requests, with all their rows.

    Raises:
        PackageError: naming the field that is wrong.
    """
    return tuple(_warm_up(config, sample, index, folder) for index, sample in enumerate(config.model_warmup))


def _warm_up(config: ModelConfig, sample: ModelWarmup, index: int, folder: Path) -> WarmUp:
    field = f"model_warmup[{index}]"
    most = max(config.max_batch_size, 1)
    if not 1 <= sample.batch_size <= most:
        raise PackageError(
            f"{field}.batch_size is {sample.batch_size}; use 1 to {most}, the most that max_batch_size lets in"
        )
    if sample.count > _MAX_COUNT:
        raise PackageError(f"{field}.count is {sample.count}; {_MAX_COUNT} are enough")
    inputs = {
        name: _values(tensor, f"{field}.inputs[{name}]", folder) for name, tensor in sorted(sample.inputs.items())
    }
    if config.max_batch_size:
        inputs = {name: np.repeat(value[None], sample.batch_size, axis=0) for name, value in inputs.items()}
    return WarmUp(sample.name or field, inputs, max(sample.count, 1))


def _values(tensor: ModelWarmup.Input, field: str, folder: Path) -> NDArray[np.generic]:
    datatype = datatype_name(tensor.data_type, f"{field}.data_type")
    shape = fixed_shape(tensor.dims, f"{field}.dims")
    match tensor.WhichOneof("input_data_type"):
        case "zero_data":
            return zeros(datatype, shape)
        case "random_data":
            return random_values(datatype, shape, np.random.default_rng(0))
        case "input_data_file":
            name = tensor.input_data_file
            return read_tensor(folder, WARM_UPS, name, f"{field}.input_data_file", datatype, shape)
        case _:
            raise PackageError(f"{field} needs zero_data, random_data or input_data_file")

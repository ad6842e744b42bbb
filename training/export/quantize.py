"""Static int8 quantisation of an exported convolutional network, and whether it is worth it."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from training.export.pixel_rows import normalise_rows
from zoo.golden import Tensors
from zoo.runtime import make_run, open_session

FLOAT_CONVOLUTIONS = (0, 1, 3)
"""How many of the first convolutions may stay in float32, to be tried."""
LEAST_TOLERANCE = 0.01
"""Of a probability of a golden sample in int8: percentiles over few items say little."""
_PRODUCTS = ["Gemm", "MatMul"]
# Clip and Relu are among them for accuracy: else the range of a convolution is taken before its activation cuts it.
_OPERATORS = ["Conv", *_PRODUCTS, "Add", "Concat", "Clip", "Relu", "GlobalAveragePool", "ReduceMean"]


def quantize_int8(onnx_bytes: bytes, calibration: Iterable[Tensors], *, float_convolutions: int) -> bytes:
    """Quantise convolutions and matrix products: activations to unsigned, weights to signed 8 bits, per channel.

    Ranges of activations are averages over the calibration batches, which a single outlier does not spoil. The errors
    of the first convolutions grow all the way. Where those have few channels they gain little, and may better stay in
    float32; where they have many, most of the gain is theirs. The speed relative to float32 on one thread with all in
    int8, without the first, without the first three: MobileNetV2 2.3, 2.2, 2.3; ResNet-18 3.4, 2.3, 1.9; ResNet-50 3.5,
    2.9, 2.7. The 99th percentile, over the validation part of flowers5, of the largest difference of a
    probability from float32, for MobileNetV2: 0.19, 0.16, 0.09.

    Logits are float32: of 256 values many classes would share one, and nobody could say which of them is the better.

    Args:
        onnx_bytes: a float32 graph.
        calibration: inputs from the training part, which show the ranges of the activations.
        float_convolutions: how many of the first convolutions stay in float32.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        model = onnx.load_from_string(onnx_bytes)
        if not float_convolutions:  # one in float32 has the channels first
            model = normalise_rows(model)
        # Inferred shapes contradict the tensors that the quantiser adds.
        del model.graph.value_info[:]
        source.write_bytes(model.SerializeToString())
        convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
        in_float = convolutions[:float_convolutions] + _behind_last_product(model)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends a preparation that the exporter has done already
        try:
            quantize_static(
                source,
                target,
                _Reader(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=_OPERATORS,
                nodes_to_exclude=in_float,
                extra_options={"CalibMovingAverage": True, "OpTypesToExcludeOutputQuantization": _PRODUCTS},
            )
        finally:
            logging.root.setLevel(level)
        return target.read_bytes()


def _behind_last_product(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that follow the last product: what is made of logits."""
    nodes = list(model.graph.node)
    last = max((place for place, node in enumerate(nodes) if node.op_type in _PRODUCTS), default=len(nodes))
    return [node.name for node in nodes[last + 1 :]]


def speedup(base: bytes, candidate: bytes, inputs: Tensors, *, rounds: int = 7) -> float:
    """How many times faster the graph `candidate` is on one thread, from the best of interleaved rounds.

    The time is the processor's, lest what else the machine has to do decides what is published.
    """
    runs = [make_run(open_session(graph, threads=1)) for graph in (base, candidate)]
    best = [float("inf")] * len(runs)
    for round_ in range(rounds + 1):
        for index, run in enumerate(runs):
            start = time.thread_time()
            run(inputs)
            if round_:  # the first warms up
                best[index] = min(best[index], time.thread_time() - start)
    return best[0] / best[1]


def probability_gap(expected: np.ndarray, got: np.ndarray, *, quantile: float = 0.99) -> float:
    """The largest difference within a row of probabilities, at a quantile over the rows."""
    return float(np.quantile(np.abs(expected - got).max(axis=1), quantile))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterable[Tensors]) -> None:
        self.batches: Iterator[Tensors] = iter(batches)

    def get_next(self) -> Tensors | None:
        return next(self.batches, None)

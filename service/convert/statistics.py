"""What models have done, as ModelStatistics of the tensor API."""

from __future__ import annotations

from inference import grpc_service_pb2 as pb
from service.models.served_model import ServedModel
from service.telemetry.statistics import Parts, Statistics, Tally


def model_statistics(model: ServedModel) -> pb.ModelStatistics:
    """The sums of one version since it was loaded."""
    sums = model.metrics.statistics
    return pb.ModelStatistics(
        name=model.name,
        version=str(model.version),
        last_inference=sums.last_request_ms,
        inference_count=sums.rows,
        execution_count=sums.runs,
        inference_stats=_by_phase(sums),
        batch_stats=[_by_rows(rows, parts) for rows, parts in sorted(sums.runs_by_rows.items())],
    )


def _by_phase(sums: Statistics) -> pb.InferStatistics:
    return pb.InferStatistics(
        success=_duration(sums.success),
        fail=_duration(sums.fail),
        queue=_duration(sums.queue),
        compute_input=_duration(sums.compute_input),
        compute_infer=_duration(sums.runs_of_requests.compute),
        compute_output=_duration(sums.compute_output),
        cache_hit=pb.StatisticDuration(),
        cache_miss=pb.StatisticDuration(),
    )


def _by_rows(rows: int, runs: Parts) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(
        batch_size=rows,
        compute_input=_duration(runs.stack),
        compute_infer=_duration(runs.compute),
        compute_output=_duration(runs.split),
    )


def _duration(tally: Tally) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=tally.count, ns=tally.nanoseconds)

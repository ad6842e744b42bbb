"""What models have done, as ModelStatistics of the tensor API."""

from __future__ import annotations

from inference import grpc_service_pb2 as pb
from service.models.served_model import ServedModel
from service.telemetry.statistics import Statistics, Tally


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
        batch_stats=[_by_rows(rows, tally) for rows, tally in sorted(sums.runs_by_rows.items())],
    )


def _by_phase(sums: Statistics) -> pb.InferStatistics:
    return pb.InferStatistics(
        success=_duration(sums.success),
        fail=_duration(sums.fail),
        queue=_duration(sums.queue),
        compute_input=_duration(sums.decode),
        compute_infer=_duration(sums.compute),
        compute_output=_duration(sums.encode),
        cache_hit=pb.StatisticDuration(),
        cache_miss=pb.StatisticDuration(),
    )


def _by_rows(rows: int, runs: Tally) -> pb.InferBatchStatistics:
    # Rows are stacked and split within the time of the run.
    within = pb.StatisticDuration(count=runs.count)
    return pb.InferBatchStatistics(
        batch_size=rows, compute_input=within, compute_infer=_duration(runs), compute_output=within
    )


def _duration(tally: Tally) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=tally.count, ns=tally.nanoseconds)

"""Servers from the package index, which `make bench-peers` measures beside ours."""

from tests.benchmarks.peers.asking import json_lists, open_inference, open_inference_columns, torchserve
from tests.benchmarks.peers.peer import Peer

PEERS = (
    Peer("mlserver", "mlserver", open_inference, small_workers=1),
    Peer("kserve", "kserve", open_inference),
    Peer("litserve", "litserve", json_lists),
    Peer("ray", "ray[serve-grpc]", open_inference),
    Peer("pytriton", "nvidia-pytriton", open_inference_columns),
    Peer(
        "torchserve",
        "torchserve",
        torchserve,
        ("torch-model-archiver", "torch", "pyyaml"),
        needs="java",
        port=3,
        warm_up_seconds=10,
    ),
)

"""The catalog of backbones, `zoo/catalog.csv`, from what the libraries publish about their weights.

    python -m training.recipes.catalog

torchvision carries the accuracy of its weights in its metadata. timm does not; its numbers are those of its published
table, https://github.com/huggingface/pytorch-image-models/blob/main/results/results-imagenet.csv.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import timm
import torch
import torchvision.models as torchvision_models
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from training.models.backbones import TIMM_PREFIX, torchvision_names
from zoo.catalog import CATALOG_FILE, CatalogEntry, write_catalog

TIMM_TOP1: dict[str, tuple[float, int]] = {
    "inception_v4.tf_in1k": (80.156, 299),
    "inception_resnet_v2.tf_in1k": (80.462, 299),
    "resnetv2_50.a1h_in1k": (81.398, 288),
    "resnetv2_50x1_bit.goog_in21k_ft_in1k": (80.340, 448),
    "resnet10t.c3_in1k": (68.358, 224),
    "resnet26d.bt_in1k": (77.408, 288),
    "resnet50.a1_in1k": (81.214, 288),
    "resnext50_32x4d.a1_in1k": (81.466, 288),
    "seresnet50.ra2_in1k": (81.284, 288),
    "legacy_xception.tf_in1k": (79.040, 299),
    "mobilenetv2_050.lamb_in1k": (65.950, 224),
    "mobilenetv2_100.ra_in1k": (72.976, 224),
    "mobilenetv2_140.ra_in1k": (76.520, 224),
    "mobilenetv3_small_100.lamb_in1k": (67.656, 224),
    "mobilenetv3_large_100.ra_in1k": (75.766, 224),
    "efficientnet_b0.ra_in1k": (77.694, 224),
    "efficientnet_lite0.ra_in1k": (75.480, 224),
    "ghostnet_100.in1k": (73.982, 224),
    "rexnet_100.nav_in1k": (77.862, 224),
    "lcnet_100.ra2_in1k": (72.096, 224),
    "mobilevit_s.cvnets_in1k": (78.312, 256),
    "repvgg_b1.rvgg_in1k": (78.368, 224),
    "convnext_atto.d2_in1k": (77.008, 288),
    "convnext_nano.d1h_in1k": (81.482, 288),
    "deit_small_patch16_224.fb_in1k": (79.844, 224),
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": (75.454, 224),
    "vit_small_patch16_224.augreg_in21k_ft_in1k": (81.384, 224),
    "swin_tiny_patch4_window7_224.ms_in1k": (81.376, 224),
}
"""Top-1 accuracy, and height and width of the images."""
_NON_COMMERCIAL = "CC-BY-NC-4.0"
"""The licence of the SWAG weights, https://github.com/facebookresearch/SWAG."""


def torchvision_entries() -> Iterator[CatalogEntry]:
    """All ImageNet weights of torchvision's classification networks."""
    for name in torchvision_names():
        weights = torchvision_models.get_model_weights(name)
        for entry in weights:
            top1 = entry.meta["_metrics"]["ImageNet-1K"]["acc@1"]
            if math.isnan(top1):
                continue  # the features of VGG16 without a classifier
            size = entry.transforms().crop_size[0]
            yield CatalogEntry(
                backbone=name,
                weights=entry.name,
                default=entry is weights.DEFAULT,
                family=_family(name),
                top1=top1,
                measured_px=size,
                input_px=size,
                parameters_millions=round(entry.meta["num_params"] / 1e6, 2),
                gflops=round(entry.meta["_ops"], 2),
                licence=_NON_COMMERCIAL if "SWAG" in entry.name else "BSD-3-Clause",
            )


def timm_entries() -> Iterator[CatalogEntry]:
    """The networks of `TIMM_TOP1`, measured as far as that is needed."""
    for full_name, (top1, measured_px) in TIMM_TOP1.items():
        name, _, tag = full_name.partition(".")
        with torch.device("meta"):
            network = timm.create_model(full_name).eval()
        config = network.pretrained_cfg
        yield CatalogEntry(
            backbone=f"{TIMM_PREFIX}{full_name}",
            weights=tag,
            default=True,
            family=_family(name),
            top1=top1,
            measured_px=measured_px,
            input_px=config["input_size"][-1],
            parameters_millions=round(sum(p.numel() for p in network.parameters()) / 1e6, 2),
            gflops=round(_multiply_adds(network, measured_px) / 1e9, 2),
            licence=_spdx(config.get("license") or "unknown"),
        )


def _multiply_adds(network: Any, size_px: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size_px, size_px, device="meta"))
    return float(counter.get_total_flops()) / 2


def _family(name: str) -> str:
    found = re.match(r"(legacy_)?(wide_resnet|inception_resnet|inception_v\d|resnetv2|swin_v2|[a-z]+)", name)
    return found[2].removesuffix("v") if found else name


def _spdx(licence: str) -> str:
    return {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}.get(licence, licence)


def main() -> None:
    """Write the catalog."""
    entries = [*torchvision_entries(), *timm_entries()]
    write_catalog(entries)
    Console().print(f"{len(entries)} entries: {CATALOG_FILE}", highlight=False)


if __name__ == "__main__":
    main()

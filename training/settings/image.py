"""Settings of an image classification run; without torch, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from training.settings.classifier import ClassifierSettings

Mode = Literal["freeze", "finetune", "scratch"]


class ImageSettings(ClassifierSettings):
    """Settings of `python -m training image`."""

    task_kind: ClassVar[str] = "image_classification"

    help_panel: ClassVar[str] = "Images and network"

    data: Path
    """Folder of class folders, DATA/<class>/*.jpg, or with train, val and test folders above them; a table (.csv) of
    paths and labels; or the folder of CIFAR-10, MNIST, Fashion-MNIST or CUB-200-2011 as published."""
    backbone: str = Field(default="mobilenet_v2", min_length=1)
    """Network: a torchvision name such as resnet18, timm/NAME; small_cnn, small_cnn_plain (no batch norm) or mlp."""
    mode: Mode = "finetune"
    """freeze trains only the head, in seconds; finetune everything, the backbone at a lower rate; scratch from random
    weights."""
    weights: str = Field(default="pretrained", min_length=1)
    """Initial weights: pretrained (from the library's hub), none, or a safetensors or torch file."""
    image_size: int | None = Field(default=None, ge=8, le=1024)
    """Height and width that the network takes, in pixels; default: what its library gives."""
    head_epochs: int = Field(default=10, ge=0)
    """In finetune mode, epochs that the head trains alone before everything does, on features computed once; in a
    comparison those of freeze mode, too."""
    backbone_rate: float = Field(default=0.1, gt=0, le=1)
    """Learning rate of the backbone in finetune mode, relative to that of the head."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of each stage of the backbone in finetune mode, relative to the stage after it."""
    batch_norm: Literal["auto", "train", "frozen"] = "auto"
    """Statistics of batch norm in finetune mode; auto freezes them where the weights have them folded away."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout before the last layer; default: what the network has."""

    l1_activations: float = Field(default=0.0, ge=0)
    """Add this many times the mean absolute value of what the last layer gets to the loss."""

    augment: Literal["light", "randaugment", "trivialaugment", "none"] = "light"
    """How training images are varied: light by the options below, the two policies by torchvision's lists, none not at
    all. Not used in freeze mode."""
    smallest_crop: float = Field(default=0.35, gt=0, le=1)
    """Smallest part of an image's area that augmentation cuts out."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Chance that an image is mirrored."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation, in degrees."""
    shift: float = Field(default=0.0, ge=0, lt=1)
    """Largest shift, as a part of the side."""
    brightness: float = Field(default=0.2, ge=0, le=1)
    """Largest change of brightness and contrast."""
    colour: float = Field(default=0.2, ge=0, le=1)
    """Largest change of saturation."""
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Largest change of hue, as a part of the colour circle; not for classes that differ in colour."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """Chance that a rectangle of an image is greyed out."""
    copies: int = Field(default=0, ge=0)
    """Write so many varied copies of each training image to the run folder, and train on these and the originals,
    instead of varying them anew in every epoch."""
    mixup: float = Field(default=0.0, ge=0)
    """Blend pairs of images, by shares drawn from Beta(mixup, mixup); 0: do not."""
    cutmix: float = Field(default=0.0, ge=0)
    """Paste a part of one image into another, its area drawn from Beta(cutmix, cutmix); 0: do not."""

    validation: float = Field(default=0.15, ge=0, lt=1)
    """Share of the data for validation; not used where the data come with a validation part."""
    test: float = Field(default=0.15, gt=0, lt=1)
    """Share of the data for the test; not used where the data come with a test part."""
    skip_broken: bool = False
    """Leave unreadable images out and name them, instead of stopping at the first."""
    crop_to_boxes: bool = False
    """Cut each image to the bounding box that the data set has for it (CUB-200-2011); clients then send such cuts."""
    workers: int = Field(default=2, ge=0)
    """Processes that augment images; 0: augment in the training process."""
    quantize: Literal["none", "int8"] = "none"
    """int8 publishes a quantised model, if it is faster and loses at most 0.5 points of accuracy."""

    tta: Literal["none", "flip", "zoom"] = "none"
    """Test-time augmentation, in the graph: flip takes the mean over the image and its mirror image, zoom also over the
    centre of both, enlarged; at two and four times the cost. Published if it lowers the log loss on the validation
    part; the card says what was tried."""
    cam: bool = False
    """Publish the output class_activation, too: where in the image the answer comes from. For networks whose last layer
    takes the means of feature maps, as most convolutional ones do."""

    @model_validator(mode="after")
    def _weights_fit_the_mode(self) -> Self:
        if self.mode == "scratch" and self.weights != "none":
            raise ValueError("--mode scratch starts from random weights; pass --weights none, or --mode finetune")
        if self.mode == "freeze" and self.weights == "none":
            raise ValueError("--mode freeze trains only the head, so the backbone needs --weights pretrained or FILE")
        if self.mode == "finetune" and self.weights == "none" and self.from_model is None:
            raise ValueError(
                "--mode finetune begins with trained weights; pass --weights pretrained or FILE, or --mode scratch for "
                "random ones"
            )
        return self

    def card_settings(self) -> dict[str, str | int | float | bool | None]:
        """As in `ClassifierSettings`; of a file of weights the name."""
        return {**super().card_settings(), "weights": Path(self.weights).name}


class CompareSettings(ImageSettings):
    """Settings of `python -m training compare`."""

    help_panel: ClassVar[str] = "Comparison"

    modes: list[Mode] = Field(default=["freeze", "finetune", "scratch"], min_length=1)
    """Ways of training to compare with the first one; repeat the option for several."""
    scratch_epochs: int | None = Field(default=None, ge=1)
    """Epochs from random weights, which need more; default: those of the others."""

    @model_validator(mode="after")
    def _weights_fit_the_mode(self) -> Self:
        return self  # each of the modes is checked by itself

    @model_validator(mode="after")
    def _each_mode_once(self) -> CompareSettings:
        if len(set(self.modes)) < len(self.modes):
            raise ValueError(f"modes has one twice: {', '.join(self.modes)}")
        if self.from_model is not None:
            raise ValueError("from_model goes on with one model; use it with python -m training image")
        if self.resume is not None:
            raise ValueError("resume one of the runs with: python -m training image --resume RUN")
        return self

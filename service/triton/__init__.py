"""Repositories made for Triton: `config.pbtxt` becomes `ModelSettings`, or is refused with the name of the field."""

from service.triton.configuration import read_model_settings
from service.triton.editing import ConfigEdit, edit_config
from service.triton.layout import scan

__all__ = ["ConfigEdit", "edit_config", "read_model_settings", "scan"]

"""The repository RPCs of the tensor API: their parameters in, their rows out."""

from __future__ import annotations

from collections.abc import Mapping

from inference import grpc_service_pb2 as pb
from service.errors import RequestError
from service.models.entry import IndexRow

_LOAD = {"config": "string_param"}
_UNLOAD = {"unload_dependents": "bool_param"}


def index_row(row: IndexRow) -> pb.RepositoryIndexResponse.ModelIndex:
    """A row of RepositoryIndex."""
    version = str(row.version) if row.version else ""
    return pb.RepositoryIndexResponse.ModelIndex(name=row.name, version=version, state=row.state, reason=row.reason)


def read_load_config(request: pb.RepositoryModelLoadRequest) -> str:
    """The configuration that the request brings, as JSON; empty: none.

    Raises:
        RequestError: no name; a parameter that the server does not take, files over the wire among them.
    """
    _check(request.model_name, request.parameters, _LOAD)
    return request.parameters["config"].string_param if "config" in request.parameters else ""


def check_unload(request: pb.RepositoryModelUnloadRequest) -> None:
    """Refuse a request without a name, or with a parameter that the server does not take.

    Raises:
        RequestError: says which.
    """
    _check(request.model_name, request.parameters, _UNLOAD)


def _check(name: str, parameters: Mapping[str, pb.ModelRepositoryParameter], known: Mapping[str, str]) -> None:
    if not name:
        text = "model_name is empty; RepositoryIndex lists the models of the repositories"
        raise RequestError("model_name", text, reason="MODEL_NAME_MISSING")
    for key, parameter in parameters.items():
        field = f"parameters[{key}]"
        if key.startswith("file:"):
            text = f"parameter '{key}': files over the wire are refused; put the model into a repository of the server"
            raise RequestError(field, text, reason="FILE_UPLOAD_REFUSED")
        if key not in known:
            text = f"parameter '{key}' is not supported; there is {', '.join(known)}"
            raise RequestError(field, text, reason="UNKNOWN_PARAMETER")
        kind = parameter.WhichOneof("parameter_choice")
        if kind != known[key]:
            text = f"parameter '{key}' must be {known[key]}, got {kind}"
            raise RequestError(field, text, reason="INVALID_PARAMETER")

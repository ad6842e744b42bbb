"""Who may call what: the role that each RPC demands, and what a caller shows for it.

Default deny: an RPC without a line in `ROLES` is nobody's, so that a new one cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import AdminDisabledError, PermissionDeniedError, UnauthenticatedError
from service.security.tokens import Role, TokenFile

ANONYMOUS = ""
"""The name of a caller that showed no token, where none is needed."""

_TENSORS = "/inference.GRPCInferenceService/"
HEALTH_RPCS = frozenset(
    {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"}
    | {_TENSORS + name for name in ("ServerLive", "ServerReady")}
)
"""Asked by probes: they need no token where health is public, and are answered while the server stops."""
_REFLECTION_RPCS = frozenset({"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"})
_PREDICTING_RPCS = frozenset(
    {"/menagerie.v1.PredictionService/" + name for name in ("ClassifyImages", "ClassifyTexts")}
    | {"/menagerie.v1.PredictionService/" + name for name in ("Forecast", "ForecastStream")}
    | {_TENSORS + name for name in ("ModelInfer", "ModelStreamInfer")}
)
_DESCRIBING_RPCS = frozenset(
    {"/menagerie.v1.ModelService/" + name for name in ("ListModels", "GetModel")}
    | {_TENSORS + name for name in ("ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig")}
    | {_TENSORS + name for name in ("ModelStatistics", "RepositoryIndex")}
    | {_TENSORS + "SystemSharedMemoryStatus"}
    # These change nothing, since service.servicers.unavailable refuses every change; they tell how things are.
    | {_TENSORS + f"CudaSharedMemory{verb}" for verb in ("Status", "Register", "Unregister")}
    | {_TENSORS + name for name in ("TraceSetting", "LogSettings")}
)
_REGISTERING_RPCS = frozenset({_TENSORS + f"SystemSharedMemory{verb}" for verb in ("Register", "Unregister")})
"""What they open is of other programs. They have a setting of their own, without which they change nothing."""
_CHANGING_RPCS = frozenset({_TENSORS + name for name in ("RepositoryModelLoad", "RepositoryModelUnload")})

ROLES: Mapping[str, Role] = {
    **dict.fromkeys(HEALTH_RPCS | _REFLECTION_RPCS | _DESCRIBING_RPCS, Role.READ),
    **dict.fromkeys(_PREDICTING_RPCS, Role.PREDICT),
    **dict.fromkeys(_CHANGING_RPCS | _REGISTERING_RPCS, Role.ADMIN),
}
"""Every RPC of the server, by its full name, and the role that it demands."""


class Gate:
    """Lets callers in."""

    def __init__(
        self, tokens: TokenFile | None, *, admin: bool, public_health: bool = True, public_reflection: bool = False
    ) -> None:
        """Take the policy.

        Args:
            tokens: who may do what; None: everybody may do everything that is enabled.
            admin: whether RPCs that change the server are enabled.
            public_health: whether health needs no token.
            public_reflection: whether reflection needs no token.
        """
        self._tokens = tokens
        self._admin = admin
        self._public = (HEALTH_RPCS if public_health else frozenset()) | (
            _REFLECTION_RPCS if public_reflection else frozenset()
        )

    def check(self, method: str, authorization: str) -> str:
        """Let a caller in, or not.

        Args:
            method: full name of the RPC, also of one that does not exist.
            authorization: the value of the header of that name; empty: none was sent.

        Returns:
            The caller's name, or ANONYMOUS.

        Raises:
            UnauthenticatedError: no token, or an unknown one.
            PermissionDeniedError: the token has not the role that the RPC demands.
            AdminDisabledError: the RPC changes the server, and that is not enabled.
        """
        role = ROLES.get(method)
        name = ANONYMOUS
        if self._tokens and method not in self._public:
            token = self._tokens.find(_bearer(authorization))
            if token is None:
                raise UnauthenticatedError("the token is unknown; ask the operator for one", reason="TOKEN_UNKNOWN")
            if role is not None and role not in token.roles:
                raise PermissionDeniedError(token.name, method, role)
            name = token.name
        if role is Role.ADMIN and not self._admin and method not in _REGISTERING_RPCS:
            raise AdminDisabledError(method)
        return name


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        text = "send a token: metadata `authorization: Bearer TOKEN`"
        raise UnauthenticatedError(text, reason="TOKEN_MISSING")
    return token.strip()

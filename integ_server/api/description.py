"""The OpenAPI document, with what FastAPI can't know: how one signs in, and which scope each route takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, routing
from fastapi.dependencies.models import Dependant

from integ_server.api.deps import get_caller, known_caller
from integ_server.contract.scopes import EXPLAINED, Scope

_SCOPES = "; ".join(f"`{scope}`: {told}" for scope, told in EXPLAINED.items())
_SCHEMES = {
    "integ": {
        "type": "http",
        "scheme": "bearer",
        "description": f"An access token of a device (`POST /auth/device`), or a personal token (`POST /auth/tokens`). Scopes: {_SCOPES}.",
    },
    "metrics": {"type": "http", "scheme": "bearer", "description": "INTEG_METRICS_TOKEN, where the backend has one."},
}
_METRICS = "/metrics"


class DescribedApp(FastAPI):
    """An app where one signs in; an embedded one is a plain FastAPI."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            document.setdefault("components", {})["securitySchemes"] = _SCHEMES
            for route in routing.iter_route_contexts(self.routes):
                for method in route.methods or ():
                    operation = document["paths"].get(route.path, {}).get(method.lower())
                    if operation is not None:
                        operation["security"] = _security(str(route.path), route.dependant)
        assert self.openapi_schema is not None
        return self.openapi_schema


def _security(path: str, dependant: Dependant) -> list[dict[str, list[str]]]:
    """As OpenAPI 3.1 has it, where a bearer scheme may name scopes too; empty: whoever asks is answered."""
    if path == _METRICS:
        return [{"metrics": []}, {}]
    asked = list(_asked(dependant))
    return [{"integ": sorted({str(scope) for scope in asked if scope is not None})}] if asked else []


def _asked(dependant: Dependant) -> Iterator[Scope | None]:
    """The scopes that a route takes; None for one that asks who it is and for none."""
    for each in dependant.dependencies:
        scope = getattr(each.call, "scope", None)
        if isinstance(scope, Scope):
            yield scope
        elif each.call in {get_caller, known_caller}:
            yield None
        yield from _asked(each)

"""What this process counts, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from integ_server.api.deps import OpenedBackend
from integ_server.contract.errors import AuthenticationError, NotFoundError, PermissionDeniedError
from integ_server.metrics_access import CONTENT_TYPE, brings
from integ_server.settings import LOOPBACK

router = APIRouter(tags=["running"])
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, backend: OpenedBackend) -> Response:
    """
    For whoever brings INTEG_METRICS_TOKEN as a bearer token; without such a setting for this machine alone, and never through a proxy.
    """
    if backend.metrics is None:
        raise NotFoundError("there is nothing at this address", hint="see /docs")
    if not backend.settings.metrics_token:
        _admit_this_machine(request)
    elif not brings(request.headers.get("authorization", ""), backend.settings.metrics_token):
        raise AuthenticationError("the figures are for whoever brings their token", hint="send INTEG_METRICS_TOKEN as a bearer token")
    return Response(await backend.metrics.text(backend), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _admit_this_machine(request: Request) -> None:
    is_here = request.client is not None and request.client.host in LOOPBACK and (request.url.hostname or "") in LOOPBACK
    if not is_here or any(name in request.headers for name in _FORWARDED):
        raise PermissionDeniedError("the figures are for this machine alone", hint="set INTEG_METRICS_TOKEN and bring it as a bearer token")

"""Device login, RFC 8628: in Integ's envelope for JSON, and as the RFC has it for forms."""

from __future__ import annotations

from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from integ_server.api.deps import BackendDep, PublicUrl
from integ_server.api.envelope import ok
from integ_server.api.limits import client_address, limited
from integ_server.auth import device
from integ_server.contract.errors import IntegError, UsageError
from integ_server.contract.failures import FailureEnvelope
from integ_server.contract.scopes import Scope
from integ_server.contract.sessions import DeviceCode, DevicePoll, DeviceStart, Tokens
from integ_server.contract.types import Envelope

router = APIRouter(prefix="/auth/device", tags=["sign-in"])
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
M = TypeVar("M", bound=BaseModel)
_FORM = "application/x-www-form-urlencoded"


class OAuthFailure(BaseModel):
    """RFC 6749's form of a failure."""

    error: str
    error_description: str | None = None


class OAuthTokens(BaseModel):
    """RFC 6749's form of tokens."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    scope: str


_EITHER_FAILURE: dict[int | str, dict[str, Any]] = {"4XX": {"model": FailureEnvelope | OAuthFailure}}


def _body(kind: type[BaseModel], form: dict[str, Any]) -> dict[str, Any]:
    """What the document says of a body that the endpoint reads by itself."""
    properties = {name: {"type": "string"} for name in form}
    as_form = {"schema": {"type": "object", "properties": properties, "required": [name for name, needed in form.items() if needed]}}
    content = {"application/json": {"schema": kind.model_json_schema()}, _FORM: as_form}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "",
    response_model=Envelope[DeviceCode] | DeviceCode,
    responses=_EITHER_FAILURE,
    dependencies=[limited("device", 30, 60)],
    openapi_extra=_body(DeviceStart, {"client_id": False, "scope": False}),
)
async def begin(backend: BackendDep, public_url: PublicUrl, request: Request, response: Response) -> Envelope[DeviceCode] | Response:
    """Codes for a device that wants to be signed in: one to ask with, one that the player types."""
    response.headers["Cache-Control"] = "no-store"
    form = await _form(request)
    address = client_address(request.scope, backend.settings)
    if form is None:
        return ok(await device.begin(backend, await _read(DeviceStart, request), public_url, address))
    try:
        scopes = [Scope(each) for each in form.get("scope", "").split()]
    except ValueError:
        return _oauth({"error": "invalid_scope"}, 400)
    wanted = DeviceStart(device=form.get("client_id", "")[:100], scopes=scopes)
    return _oauth((await device.begin(backend, wanted, public_url, address)).model_dump(mode="json"), 200)


@router.post(
    "/token",
    response_model=Envelope[Tokens] | OAuthTokens,
    responses=_EITHER_FAILURE,
    dependencies=[limited("device-poll", 300, 60)],
    openapi_extra=_body(DevicePoll, {"grant_type": True, "device_code": True, "client_id": False}),
)
async def poll(backend: BackendDep, request: Request, response: Response) -> Envelope[Tokens] | Response:
    """The tokens, once the player has said yes; until then a failure whose data has the RFC's word."""
    response.headers["Cache-Control"] = "no-store"
    form = await _form(request)
    if form is None:
        return ok(await device.poll(backend, (await _read(DevicePoll, request)).device_code))
    if form.get("grant_type") != GRANT:
        return _oauth({"error": "unsupported_grant_type"}, 400)
    if not 0 < len(form.get("device_code", "")) <= 200:
        return _oauth({"error": "invalid_request"}, 400)
    try:
        tokens = await device.poll(backend, form["device_code"])
    except IntegError as error:
        if error.data is None or "error" not in error.data:
            raise
        return _oauth({"error": error.data["error"], "error_description": error.message}, 400)
    answer = tokens.model_dump(mode="json", include={"access_token", "token_type", "expires_in", "refresh_token"})
    return _oauth({**answer, "scope": " ".join(tokens.scopes)}, 200)


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None when the body is JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return None
    try:
        return dict(parse_qsl((await request.body()).decode(), max_num_fields=20))
    except ValueError:
        raise UsageError("the form makes no sense", hint="see /docs") from None


async def _read(kind: type[M], request: Request) -> M:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError:
        wrong = UsageError(f"that is no {kind.__name__}", hint="see /docs")
        wrong.status = 422
        raise wrong from None  # the mistake holds what was sent


def _oauth(answer: dict[str, Any], status: int) -> JSONResponse:
    return JSONResponse(answer, status, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

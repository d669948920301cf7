"""Steam, GOG and the Proton release feed as one ASGI app: what the world knows as https://HOST/PATH answers at /HOST/PATH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from integ_server.sandbox import github, gog, steam_api, steam_auth, steam_openid, store, umu
from integ_server.sandbox.faults import KNOWN, Faults, UnknownFaultError
from integ_server.sandbox.state import SandboxState, Seen
from integ_server.sandbox.world import World

if TYPE_CHECKING:
    from collections import deque

    from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True)
class Sandbox:
    """One sandbox: hand `app` to a server (`serve()`), turn its `faults`, read its `requests`."""

    state: SandboxState
    app: ASGIApp

    @property
    def world(self) -> World:
        return self.state.world

    @property
    def faults(self) -> Faults:
        return self.state.faults

    @property
    def requests(self) -> deque[Seen]:
        """What was asked, oldest first, as (method, host, path)."""
        return self.state.requests


def create_sandbox(world: World) -> Sandbox:
    """A sandbox with nothing remembered: no codes, no nonces, no faults."""
    state = SandboxState(world)
    parts = (
        _admin(state),
        steam_openid.routes(state),
        steam_auth.routes(state, steam_api.trouble),
        steam_api.routes(state),
        store.routes(state),
        github.routes(state),
        gog.routes(state),
        umu.routes(state),
    )
    app = Starlette(routes=[route for part in parts for route in part], exception_handlers={404: _unknown})
    app.router.redirect_slashes = False
    return Sandbox(state, _Remembering(app, state))


class _Remembering:
    """Notes every request to a store before it is answered."""

    def __init__(self, app: ASGIApp, state: SandboxState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host, _, path = scope["path"].lstrip("/").partition("/")
            if host != "_sandbox":
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
                seen = Seen.of(scope["method"], host, f"/{path}", scope["query_string"].decode("latin-1"), headers)
                self._state.requests.append(seen)
        await self._app(scope, receive, send)


async def _unknown(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"The sandbox does not play this: {request.url.path}\n", 404)


def _admin(state: SandboxState) -> list[Route]:
    """The sandbox's own doors, for those who run it as a program: faults on and off, who plays, and what was asked."""

    async def faults(request: Request) -> Response:
        return JSONResponse({"on": state.faults.names(), "known": KNOWN})

    async def fault(request: Request) -> Response:
        name, times = request.path_params["name"], request.query_params.get("times")
        try:
            if request.method == "DELETE":
                state.faults.off(name)
            else:
                state.faults.on(name, None if times is None else int(times))
        except UnknownFaultError:
            return JSONResponse({"message": f"no fault is called {name}"}, 404)
        except ValueError:
            return JSONResponse({"message": "times is a whole number from 1"}, 400)
        return JSONResponse({"on": state.faults.names()})

    async def world(request: Request) -> Response:
        names = ("name", "seed", "steam_id", "steam_key", "steam_own_key", "vanity", "persona", "gog_user_id", "gog_username")
        return JSONResponse({name: getattr(state.world, name) for name in names})

    async def requests(request: Request) -> Response:
        return JSONResponse([{"method": seen.method, "host": seen.host, "path": seen.path} for seen in list(state.requests)])

    return [
        Route("/_sandbox/faults", faults),
        Route("/_sandbox/faults/{name}", fault, methods=["POST", "DELETE"]),
        Route("/_sandbox/requests", requests),
        Route("/_sandbox/world", world),
    ]

"""umu's database: what umu calls a store's game, in its API's one file of PHP."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from integ_server.sandbox import faults
from integ_server.sandbox.state import SandboxState

faults.register("umu.text", "umu's database fails: plain text with status 200")
faults.register("umu.odd_id", "umu's database answers ids that umu would not take")
faults.register("umu.down", "umu's database answers 503")


def routes(state: SandboxState) -> list[Route]:
    async def api(request: Request) -> Response:
        if state.faults.hit("umu.down"):
            return PlainTextResponse("Service Unavailable", 503)
        if state.faults.hit("umu.text"):
            return PlainTextResponse("Connection failed: SQLSTATE[HY000] [2002] Connection refused")
        rows = _rows(state, request.query_params.get("store", ""), request.query_params.get("codename", ""))
        if state.faults.hit("umu.odd_id"):
            rows = [{**row, "umu_id": "../../umu-1"} for row in rows]
        return Response(json.dumps(rows), media_type="application/json")

    return [Route("/umu.openwinecomponents.org/umu_api.php", api)]


def _rows(state: SandboxState, store: str, codename: str) -> list[dict[str, str]]:
    """Games that Steam sells too are known by its app id; of the others the database has never heard."""
    if store != "gog" or not codename.isdigit():
        return []
    title = state.world.gog_products.get(int(codename))
    return [{"title": title.title, "umu_id": f"umu-{title.steam.appid}"}] if title is not None and title.steam is not None else []

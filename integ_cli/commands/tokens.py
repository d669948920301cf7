"""token: personal tokens of a backend for many, for scripts. One is shown once, when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import day
from integ_cli.traits import command
from integ_server.contract.errors import UsageError
from integ_server.contract.scopes import EXPLAINED, Scope

if TYPE_CHECKING:
    from integ_runtime.client.api import ApiClient
    from integ_runtime.runtime import Runtime
    from integ_server.contract.sessions import NewToken, TokenInfo


@command("integ token list", "integ token list --json")
def list_tokens() -> None:
    """List your personal tokens that are good, without what they are used with."""
    out = output()

    async def work(runtime: Runtime) -> list[TokenInfo]:
        return await (await _backend(runtime)).tokens()

    items = [each.model_dump(mode="json") for each in session.run(out, work)]
    cells = [
        (each["id"], each["name"], f"{each['prefix']}…", " ".join(each["scopes"]), day(each["expires_at"]), day(each["last_used_at"]))
        for each in items
    ]
    out.result("token-list", {"items": items}, out.rows(("!ID", "NAME", "?TOKEN", "SCOPES", "EXPIRES", "?USED"), cells))
    if not items:
        out.note("There is no token: integ token create NAME --scope library:read")


@command("integ token create backup --scope library:read", "integ token create night-sync --scope sync --scope library:read --expires 365")
def create(
    name: Annotated[str, Argument(help="What you know it by", metavar="NAME")],
    scope: Annotated[list[str] | None, Option(help="What it may be used for, as often as wanted: see below", metavar="SCOPE")] = None,
    expires: Annotated[int, Option(help="In how many days it ends; 0: never", metavar="DAYS", min=0, max=3650)] = 90,
) -> None:
    """
    Make a personal token; it is shown this once. Hand it to a script as INTEG_TOKEN.

    Scopes: library:read, library:write, sync, downloads, proton, accounts, webhooks, user.
    """
    out = output()
    wanted = [_scope(each) for each in scope or []]
    if not wanted:
        told = ", ".join(f"{each} ({EXPLAINED[each]})" for each in Scope)
        raise UsageError(f"what may it be used for? {told}", hint=f"integ token create {name!r} --scope library:read")

    async def work(runtime: Runtime) -> NewToken:
        from integ_server.contract.sessions import TokenRequest

        return await (await _backend(runtime)).make_token(TokenRequest(name=name, scopes=wanted, expires_in_days=expires or None))

    made = session.run(out, work)
    data: dict[str, Any] = made.model_dump(mode="json")
    until = "for ever" if made.expires_at is None else f"until {day(data['expires_at'])}"
    out.note(f"The token {made.name}, good {until}. It is not shown again:")
    out.result("token-create", data, made.token)


@command("integ token revoke 3f9c1e0a5b7d4c2e8f6a1b3c5d7e9f01")
def revoke(
    token_id: Annotated[str, Argument(help="Its id, as integ token list shows it", metavar="ID")],
) -> None:
    """End a personal token, at once and everywhere."""
    out = output()

    async def work(runtime: Runtime) -> None:
        await (await _backend(runtime)).revoke_token(token_id)

    session.run(out, work)
    out.result("token-revoke", {"id": token_id}, f"The token {token_id} is good no more.")


async def _backend(runtime: Runtime) -> ApiClient:
    if not runtime.has_backend:
        raise UsageError("tokens are for a backend for many: Integ runs by itself here", hint="integ config set backend_url https://…")
    return await runtime.api()


def _scope(text: str) -> Scope:
    try:
        return Scope(text)
    except ValueError:
        raise UsageError(f"there is no scope {text!r}", hint=f"scopes: {', '.join(Scope)}") from None

"""login, logout, accounts: a secret comes by stdin or a hidden question, never by the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.device_board import sign_device_in
from integ_cli.layout import account_state, day
from integ_cli.output import Output, read_stdin_secret
from integ_cli.traits import command
from integ_server.contract.errors import AccountNotFoundError, NotSignedInError, UsageError

if TYPE_CHECKING:
    from integ_runtime.device_login import SignedInDevice
    from integ_runtime.runtime import Runtime
    from integ_server.contract.sign_in import SignInPending
    from integ_server.contract.types import AccountInfo, ProviderInfo, SignedIn


@command(
    "integ login gog",
    "integ login steam",
    "integ login steam --qr",
    "integ login --device",
    "integ login steam --steam-id 76561197960287930 --api-key-stdin < key.txt",
    "wl-paste | integ login gog --code-stdin",
)
def login(
    *,
    provider: Annotated[str | None, Argument(help="steam, gog, or another store", metavar="PROVIDER", show_default=False)] = None,
    account: Annotated[
        str | None,
        Option("--steam-id", "--account", help="The account that the key belongs to: id, profile address or name", metavar="ID_OR_NAME"),
    ] = None,
    api_key_stdin: Annotated[bool, Option("--api-key-stdin", help="Read your Web API key from stdin")] = False,
    code_stdin: Annotated[bool, Option("--code-stdin", help="Read the landing page's address, or the code in it, from stdin")] = False,
    qr: Annotated[bool, Option("--qr", help="Show a code for the store's app on your phone; takes no Web API key")] = False,
    device: Annotated[
        bool, Option("--device", help="Sign this device in to the backend that INTEG_BACKEND_URL names, by a code for any browser")
    ] = False,
    no_browser: Annotated[bool, Option("--no-browser", help="Print the address instead of opening it")] = False,
) -> None:
    """
    Sign in to a store; several accounts of one store are welcome.

    With a backend for many and nobody signed in to it, integ login is integ login --device.
    """
    out = output()
    alone = provider is None and account is None and not (api_key_stdin or code_stdin or qr)
    if device and not alone:
        raise UsageError("--device signs in to the backend and stands alone; the stores come after", hint="integ login --device")
    if api_key_stdin and code_stdin:
        raise UsageError("only one of --api-key-stdin and --code-stdin can read stdin", hint="integ login --help")
    if qr and (api_key_stdin or code_stdin or account is not None):
        raise UsageError("with --qr the phone says whose account it is: it stands alone", hint="integ login steam --qr")
    given = read_stdin_secret("key" if api_key_stdin else "code") if api_key_stdin or code_stdin else ""

    async def work(runtime: Runtime) -> SignedIn | SignedInDevice:
        if device or (alone and await runtime.needs_device_login()):
            return await sign_device_in(out, runtime, lambda address: not no_browser and open_page(address))
        known = await runtime.accounts.providers()
        if qr:
            known = [each for each in known if "qr" in each.ways]
        only = known[0].slug if qr and len(known) == 1 else None
        slug = provider.lower() if provider else only or _asked_store(out, known)
        store = await runtime.accounts.get_provider(slug)
        ask = _SignIn(out, runtime, store, browser=not no_browser)
        if qr:
            return await ask.by_qr()
        if code_stdin:
            return await ask.by_code(given)
        if api_key_stdin:
            return await ask.by_key(given, account)
        return await ask.as_it_fits(account)

    signed_in = session.run(out, work)
    data = _signed_in_data(signed_in)
    where = "this backend" if data["provider"] == "integ" else data["provider"]
    out.result("login", data, f"Signed in to {where} as {data['display_name'] or data['account']}.")
    out.note("Next: integ sync")


def _signed_in_data(signed_in: SignedIn | SignedInDevice) -> dict[str, Any]:
    from integ_server.contract.types import SignedIn

    if isinstance(signed_in, SignedIn):
        return signed_in.model_dump(mode="json")
    user = signed_in.user
    return {"provider": "integ", "account": user.id, "display_name": user.name, "kept_in": signed_in.place}


class _SignIn:
    """The ways into one store, each with its questions."""

    def __init__(self, out: Output, runtime: Runtime, store: ProviderInfo, *, browser: bool) -> None:
        self._out, self._runtime, self._store, self._browser = out, runtime, store, browser

    async def as_it_fits(self, account: str | None) -> SignedIn:
        """By the way that needs least of the player, asking on the terminal."""
        ways = [way.value for way in self._store.ways]
        if account is not None and "api_key" not in ways:
            raise UsageError(f"{self._store.title} takes no --steam-id or --account", hint=f"integ login {self._store.slug}")
        if account is None and "openid" in ways:
            key = self._asked_key() if self._store.needs_api_key else ""
            return await self._by_page(key)
        if account is None and "code" in ways:
            return await self.by_code(None)
        return await self.by_key(self._asked_key(), account)

    async def by_key(self, key: str, account: str | None) -> SignedIn:
        ways = [way.value for way in self._store.ways]
        if "api_key" not in ways:
            raise UsageError(f"{self._store.title} takes no API key", hint=f"integ login {self._store.slug}")
        if account is None and not self._runtime.has_backend:  # one for many takes nobody's word for an account: the page proves it
            account = self._local_steam_user()
        if account is None and "openid" in ways:
            return await self._by_page(key)
        if account is None:
            raise UsageError("whose key is it?", hint=f"integ login {self._store.slug} --account NAME --api-key-stdin")
        return await self._runtime.accounts.sign_in_with_key(self._store.slug, key, account)

    async def by_code(self, pasted: str | None) -> SignedIn:
        """With *pasted* from stdin the page was opened before; else it is opened now, and what it ends on is asked for."""
        from integ_server.contract.types import SignInWay

        slug = self._store.slug
        if SignInWay.CODE not in self._store.ways:
            raise UsageError(f"{self._store.title} has no page with a code", hint=f"integ login {slug}")
        if pasted is not None:
            return await self._runtime.accounts.sign_in_with_code(slug, pasted)
        by_stdin = f"integ login {slug} --code-stdin"
        if not self._out.can_ask:
            raise UsageError("the landing page's address can't be asked for: this is no terminal", hint=by_stdin)
        page = await self._runtime.accounts.begin(slug, SignInWay.CODE)
        self._show(page.address)
        self._out.tell("Sign in there. The page after that is blank: copy its address, it is good for about a minute.")
        pasted = self._out.secret("The address, or the code in it", otherwise=by_stdin)
        return await self._runtime.accounts.sign_in_with_code(slug, pasted, page.state)

    async def by_qr(self) -> SignedIn:
        """By a code on the terminal, its address beside it for who has no terminal or another screen to show it on."""
        if "qr" not in self._store.ways:
            raise UsageError(f"{self._store.title} has no sign-in by QR code", hint=f"integ login {self._store.slug}")
        from integ_cli.qr import QrBoard

        board, title = QrBoard(self._out), self._store.title

        def show(told: SignInPending) -> None:
            if told.stage == "scanned":
                board.show(told.address, "Scanned. Now confirm it on your phone.")
            elif board.has_room_for(told.address):
                board.show(told.address, f"Scan it with the {title} app on your phone, within five minutes. It says:", f"  {told.address}")
            else:
                way = f"Make a QR code of this somewhere, and scan it with the {title} app on your phone, within five minutes:"
                board.show(told.address, way, f"  {told.address}")

        return await self._runtime.accounts.sign_in_by_qr(self._store.slug, show=show)

    async def _by_page(self, key: str) -> SignedIn:
        if self._out.no_input:
            told = f"integ login {self._store.slug} --steam-id ID_OR_NAME --api-key-stdin"
            raise UsageError(f"whose key is it? --no-input sends nobody to {self._store.title}'s sign-in page", hint=told)
        return await self._runtime.accounts.sign_in_by_browser(self._store.slug, show=self._show, api_key=key)

    def _asked_key(self) -> str:
        hint = f"integ login {self._store.slug} --api-key-stdin"
        if self._store.api_key_page and self._out.can_ask:
            self._out.note(f"Reading your library takes your own Web API key, from {self._store.api_key_page}")
            if "qr" in self._store.ways:
                self._out.note(f"Without a key, with the {self._store.title} app on your phone: integ login {self._store.slug} --qr")
        return self._out.secret("Web API key", otherwise=hint)

    def _local_steam_user(self) -> str | None:
        """The account that this machine's Steam client signed in last."""
        if self._store.slug != "steam":
            return None
        users = self._runtime.steam.snapshot().users
        active = [user for user in users if user.most_recent] or list(users[:1] if len(users) == 1 else [])
        return active[0].steam_id if active else None

    def _show(self, address: str) -> None:
        """The address is told in any case: the browser may be on another machine."""
        opened = self._browser and open_page(address)
        self._out.tell("Opened in your browser:" if opened else "Open this in a browser:")
        self._out.tell(f"  {address}")


def open_page(address: str) -> bool:
    """Open *address* in the desktop's browser; False where there is no desktop to open it on."""
    desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opener = shutil.which("xdg-open")
    if not desktop or opener is None or os.environ.get("SSH_CONNECTION"):
        return False
    quiet = subprocess.DEVNULL
    subprocess.Popen([opener, address], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    return True


def _asked_store(out: Output, known: list[ProviderInfo]) -> str:
    if not out.can_ask:
        raise UsageError("which store?", hint=f"integ login {'|'.join(each.slug for each in known)}")
    return known[out.choose("Sign in to which store?", [each.title for each in known])].slug


@command("integ logout gog", "integ logout --device", "integ logout --all --yes", asks=True)
def logout(
    provider: Annotated[str | None, Argument(help="The store", metavar="PROVIDER", show_default=False)] = None,
    account: Annotated[str | None, Option(help="Only this account of the store", metavar="ID")] = None,
    everything: Annotated[bool, Option("--all", help="Sign out of every store, and this device out of the backend")] = False,
    device: Annotated[bool, Option("--device", help="Sign this device out of the backend; the stores stay with your user there")] = False,
) -> None:
    """Sign out of a store, or of a backend for many; its games leave the list, what is installed stays."""
    out = output()
    if [provider is not None, everything, device].count(True) != 1 or (account is not None and provider is None):
        raise UsageError("name one store, or say --all or --device", hint="integ logout gog")
    whom = f"{provider}, account {account}" if account else provider or ("every store" if everything else "the backend")

    async def work(runtime: Runtime) -> tuple[list[Any], bool | None]:
        if provider is not None:
            await runtime.accounts.get_provider(provider)
        gone: list[Any] = []
        leaves = device or (everything and runtime.has_device_login)
        if not device:
            gone = await _signed_out(runtime, provider, account, or_nobody=leaves)
        told = await runtime.device.end() if leaves else None
        if not leaves:
            await runtime.follow()
        return [each.model_dump(mode="json") for each in gone], told

    out.confirm(f"Sign out of {whom}? Its games leave the list until you sign in again.")
    gone, told = session.run(out, work)
    lines = [f"Signed out of {each['provider']}: {each['display_name']}." for each in gone]
    if told is not None:
        lines.append("Signed this device out of the backend.")
    out.result("logout", {"items": gone, "device": told is not None}, *lines)
    if told is False:
        out.warn("the backend could not be told: what was forgotten here ends there by itself")


async def _signed_out(runtime: Runtime, provider: str | None, account: str | None, *, or_nobody: bool) -> list[AccountInfo]:
    try:
        return await runtime.accounts.sign_out(provider.lower() if provider else None, account)
    except (AccountNotFoundError, NotSignedInError):
        if or_nobody:
            return []
        raise


@command("integ accounts", "integ accounts --json")
def accounts() -> None:
    """List the store accounts that are signed in, and who you are at the backend."""
    out = output()

    async def work(runtime: Runtime) -> dict[str, Any]:
        return {**await runtime.who(), "items": [each.model_dump(mode="json") for each in await runtime.accounts.all()]}

    data = session.run(out, work)
    cells = [
        (each["provider"], each["display_name"], each["account"], account_state(each["state"]), day(each["last_sync_at"]))
        for each in data["items"]
    ]
    told = f"{data['user']} at {data['backend']}" if data["user"] is not None else ""
    out.result("accounts", data, told, out.rows(("STORE", "NAME", "ACCOUNT", "STATE", "LAST SYNC"), cells))
    if not data["items"]:
        out.note("Nobody is signed in: integ login")

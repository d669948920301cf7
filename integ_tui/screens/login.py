"""Accounts: who is signed in where, and signing in to a store in each way that it offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button, Input, Label, Static

from integ_server.contract.errors import IntegError
from integ_server.contract.types import AccountInfo, AccountState, ProviderInfo, SignedIn, SignInWay
from integ_tui.screens.base import IntegScreen
from integ_tui.widgets.row_list import Cell, RowList
from integ_tui.widgets.tab_strip import TabStrip
from integ_tui.wording import ago, clean, fit, fit_right, store_name

if TYPE_CHECKING:
    from integ_tui.parts import Accounts

STATES = {
    AccountState.SIGNED_OUT: ("signed out by the store: sign in again", "sign in again"),
    AccountState.PRIVATE: ("the store hides the library", "private"),
}
"""In words, and in few."""


class AddressKnown(Message):
    """The page to sign in on; its browser answer is waited for."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address


class AccountList(RowList[AccountInfo]):
    def cells(self, row: AccountInfo, width: int) -> list[Cell]:
        store = min(8, width)
        state = 38 if width >= 72 else 14 if width >= 30 else 0
        synced = ago(row.last_sync_at, self.app.clock())  # type: ignore[attr-defined]
        if row.state is AccountState.OK:
            words = f"synced {synced}" if synced and state > 14 else synced
        else:
            words = STATES[row.state][0 if state > 14 else 1]
        shown = clean(row.display_name) or clean(row.account)
        return [
            (fit(store_name(row.provider), store), "good"),
            (fit(shown, width - store - state), "title"),
            (fit_right(words, state), "dim" if row.state is AccountState.OK else "warn"),
        ]


class LoginScreen(IntegScreen[str | None]):
    """Gives the store that was signed in to, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="login.leave", tooltip="Back; ends a sign-in that waits"),
        Binding("ctrl+o", "open", "Open", id="login.open", tooltip="Open the address in the desktop's browser"),
        Binding("ctrl+y", "copy", "Copy", id="login.copy", tooltip="Copy the address to the clipboard"),
        Binding("f2", "store(-1)", "Store before", show=False, id="login.previous"),
        Binding("f3", "store(1)", "Next store", id="login.next", tooltip="The next store"),
        Binding("x,delete", "sign_out", "Sign out", id="login.sign_out", tooltip="Sign the chosen account out"),
    ]

    def __init__(self, accounts: Accounts, store: str | None = None) -> None:
        super().__init__()
        self._accounts = accounts
        self._wanted = store
        self._stores: list[ProviderInfo] = []
        self._address = ""
        self._state = ""

    def compose_content(self) -> ComposeResult:
        yield TabStrip([], brand="Accounts", id="stores")
        with VerticalScroll(classes="pane", can_focus=False):
            yield AccountList(id="accounts")
            yield Label("Reading the stores…", id="say", markup=False)
            with Vertical(id="phone"):
                yield Label("", id="phone-words", markup=False, classes="form-line")
                yield Button("Show a QR code", id="phone-go", compact=True)
            with Vertical(id="openid"):
                yield Label("", id="openid-words", markup=False, classes="form-line")
                yield Input(placeholder="Web API key", password=True, id="openid-key", compact=True)
                yield Button("Sign in with the browser", variant="primary", id="openid-go", compact=True)
            with Vertical(id="code"):
                yield Label("", id="code-words", markup=False, classes="form-line")
            with Vertical(id="address-box"):
                yield Static("", markup=False, id="address")
                with Horizontal(classes="form-buttons"):
                    yield Button("Open", id="open", compact=True)
                    yield Button("Copy", id="copy", compact=True)
                    yield Button("Cancel", id="cancel", compact=True)
            with Vertical(id="paste"):
                yield Input(placeholder="the address you landed on, or the code in it", password=True, id="pasted", compact=True)
                yield Button("Finish", variant="primary", id="code-go", compact=True)
            with Vertical(id="key"):
                yield Label("Or with a Web API key alone:", markup=False, classes="form-line")
                yield Input(placeholder="SteamID, profile address or name", id="key-account", compact=True)
                yield Input(placeholder="Web API key", password=True, id="key-key", compact=True)
                yield Button("Sign in with the key", id="key-go", compact=True)

    def on_mount(self) -> None:
        for part in ("accounts", "phone", "openid", "code", "address-box", "paste", "key"):
            self.query_one(f"#{part}").display = False
        self._read()

    @work(exclusive=True, group="read")
    async def _read(self) -> None:
        with self.telling_failures():
            self._stores = await self._accounts.providers()
            self._show_accounts(await self._accounts.all())
            names = [store.slug for store in self._stores]
            active = self._wanted if self._wanted in names else (names or [""])[0]
            self.query_one("#stores", TabStrip).show_tabs([(store.slug, clean(store.title)) for store in self._stores], active)
            self._show_store()
            return
        self.query_one("#say", Label).update("The stores can't be read now.")

    def _show_accounts(self, accounts: list[AccountInfo]) -> None:
        listed = self.query_one(AccountList)
        listed.display = bool(accounts)
        listed.styles.height = min(len(accounts), 5)
        listed.show_rows(accounts)
        self.refresh_bindings()

    # the form of a store

    @property
    def _store(self) -> ProviderInfo | None:
        active = self.query_one("#stores", TabStrip).active
        return next((store for store in self._stores if store.slug == active), None)

    @on(TabStrip.Activated)
    def _show_store(self) -> None:
        store = self._store
        if store is None:
            return
        self.workers.cancel_group(self, "sign-in")
        self._show_address("")
        ways = set(store.ways)
        title = clean(store.title)
        self.query_one("#say", Label).update(f"Sign in to {title}")
        self.query_one("#phone").display = SignInWay.QR in ways
        without = ", without a key" if store.needs_api_key else ""
        self.query_one("#phone-words", Label).update(f"With the {title} app on your phone{without}:")
        self.query_one("#openid").display = SignInWay.OPENID in ways
        words = f"Your password goes to {title} alone: you sign in on its own page."
        if store.needs_api_key:
            words += f" To read your library Integ also needs a Web API key of yours, from\n{clean(store.api_key_page)}"
        self.query_one("#openid-words", Label).update(words)
        self.query_one("#openid-key").display = store.needs_api_key
        self.query_one("#key").display = SignInWay.API_KEY in ways
        self.query_one("#code").display = self.query_one("#paste").display = SignInWay.CODE in ways
        self.query_one("#code-words", Label).update(
            f"1  Sign in on {title}'s own page:\n2  Paste the address of the blank page that follows, within a minute:"
        )
        if SignInWay.CODE in ways:
            self._begin_code(store)
            self.query_one("#pasted", Input).focus()
        else:
            self.query_one("#openid-key" if store.needs_api_key else "#openid-go").focus()

    def _show_address(self, address: str) -> None:
        self._address = address if address.startswith(("https://", "http://")) and address.isprintable() else ""
        self.query_one("#address", Static).update(self._address)
        self.query_one("#address-box").display = bool(self._address)
        self.query_one("#cancel").display = self._store is not None and SignInWay.OPENID in self._store.ways
        self.refresh_bindings()

    @on(AddressKnown)
    async def _address_known(self, event: AddressKnown) -> None:
        self._show_address(event.address)
        self.query_one("#say", Label).update("Waiting for the browser's answer. Open this address if none opened:")
        self.query_one("#openid").display = self.query_one("#key").display = self.query_one("#phone").display = False
        if self._address:
            await self.integ.open_web(self._address)

    # signing in

    @on(Button.Pressed, "#phone-go")
    def _by_phone(self) -> None:
        from integ_tui.screens.phone import PhoneScreen

        if self._store is not None:
            self.app.push_screen(PhoneScreen(self._accounts, self._store), self._phone_answered)

    def _phone_answered(self, signed: SignedIn | None) -> None:
        if signed is not None:
            self._done(signed)

    def _done(self, signed: SignedIn) -> None:
        who = clean(signed.display_name) or clean(signed.account)
        self.notify(f"Signed in to {store_name(signed.provider)} as {who}.", title="Signed in", markup=False)
        self.dismiss(signed.provider)

    @on(Button.Pressed, "#openid-go")
    @on(Input.Submitted, "#openid-key")
    def _by_browser(self) -> None:
        store, key = self._store, self.query_one("#openid-key", Input).value.strip()
        if store is None:
            return
        if store.needs_api_key and not key:
            self._miss("#openid-key", "The Web API key is missing.")
            return

        def show(address: str) -> None:  # from any thread
            self.post_message(AddressKnown(address))

        self._sign_in(lambda: self._accounts.sign_in_by_browser(store.slug, show=show, api_key=key))

    @on(Button.Pressed, "#key-go")
    @on(Input.Submitted, "#key-key")
    @on(Input.Submitted, "#key-account")
    def _by_key(self) -> None:
        store = self._store
        account = self.query_one("#key-account", Input).value.strip()
        key = self.query_one("#key-key", Input).value.strip()
        if store is None:
            return
        if not account or not key:
            self._miss("#key-account" if not account else "#key-key", "Both the account and the key are needed.")
            return
        self._sign_in(lambda: self._accounts.sign_in_with_key(store.slug, key, account))

    @on(Button.Pressed, "#code-go")
    @on(Input.Submitted, "#pasted")
    def _by_code(self) -> None:
        store, pasted = self._store, self.query_one("#pasted", Input).value.strip()
        if store is None:
            return
        if not pasted:
            self._miss("#pasted", "Paste the address you landed on first.")
            return
        self._sign_in(lambda: self._accounts.sign_in_with_code(store.slug, pasted, self._state))

    def _miss(self, field: str, words: str) -> None:
        self.query_one(field).focus()
        self.notify(words, severity="warning", markup=False)

    @work(exclusive=True, group="begin")
    async def _begin_code(self, store: ProviderInfo) -> None:
        with self.telling_failures():
            page = await self._accounts.begin(store.slug, SignInWay.CODE)
            if store is self._store:
                self._state = page.state
                self._show_address(page.address)

    @work(exclusive=True, group="sign-in")
    async def _sign_in(self, sign_in: Callable[[], Awaitable[SignedIn]]) -> None:
        self.query_one("#say", Label).update("Signing in…")
        try:
            with self.telling_failures():
                self._done(await sign_in())
                return
        finally:
            for field in ("#openid-key", "#key-key", "#pasted"):  # a secret stands on the screen no longer than it must
                for each in self.query(field).results(Input):
                    each.value = ""
        self._show_store()

    @on(Button.Pressed, "#cancel")
    def _cancelled(self) -> None:
        self._show_store()

    # address, accounts, leaving

    @on(Button.Pressed, "#open")
    async def action_open(self) -> None:
        await self.open_address(self._address)

    @on(Button.Pressed, "#copy")
    def action_copy(self) -> None:
        self.copy_address(self._address)

    def action_store(self, by: int) -> None:
        self.query_one("#stores", TabStrip).step(by)

    def action_leave(self) -> None:
        self.workers.cancel_group(self, "sign-in")
        self.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"open", "copy"}:
            return True if self._address else None
        if action == "sign_out":
            listed = self.query(AccountList)
            return bool(listed and listed.first().chosen is not None)
        return True

    @work(exclusive=True, group="sign-out")
    async def action_sign_out(self) -> None:
        account = self.query_one(AccountList).chosen
        if account is None:
            return
        from integ_tui.screens.confirm import ConfirmScreen

        who = clean(account.display_name) or clean(account.account)
        question = f"Sign {who} out of {store_name(account.provider)}?"
        detail = "Its games leave the library; what is installed stays."
        if not await self.app.push_screen_wait(ConfirmScreen(question, detail=detail, yes="Sign out", no="Stay", danger=True)):
            return
        try:
            await self._accounts.sign_out(account.provider, account.account)
            self._show_accounts(await self._accounts.all())
        except IntegError as error:
            self.integ.tell_failure(error)
        self.integ.tell_changed()

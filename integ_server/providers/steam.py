"""Steam: OpenID, an API key or a QR code to sign in, the Web API for the library, the store's own item service for metadata."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar

import httpx

from integ_server.contract.achievements import Achievement
from integ_server.contract.errors import (
    AuthenticationError,
    GameNotFoundError,
    IntegError,
    PermissionDeniedError,
    PrivateProfileError,
    ProviderError,
    ProviderUnavailableError,
)
from integ_server.contract.types import DownloadPlan, DownloadRequest, SignInAnswer, SignInWay, TitleDetails
from integ_server.providers import _openid, _steam_qr
from integ_server.providers._http import Answer, ask, error_for
from integ_server.providers._steam_achievements import read_achievements
from integ_server.providers._steam_ids import HINT as ACCOUNT_HINT
from integ_server.providers._steam_ids import read_account
from integ_server.providers._steam_models import (
    AnyJson,
    OwnedApp,
    OwnedGamesAnswer,
    PlayersAnswer,
    StoreItem,
    StoreItemsAnswer,
    VanityAnswer,
)
from integ_server.providers._steam_tokens import is_token, renewed
from integ_server.providers._text import moment, plain_text
from integ_server.providers.base import (
    Credentials,
    GameMetadata,
    OwnedGame,
    ProviderConfig,
    QrSession,
    SignedInAccount,
    StoreProfile,
)

API = "https://api.steampowered.com"
ASSETS = "https://shared.akamai.steamstatic.com/store_item_assets/"
KEY_PAGE = "https://steamcommunity.com/dev/apikey"
_KEY = re.compile(r"[0-9A-Fa-f]{32}\Z")
_KEY_HINT = f"get your own key at {KEY_PAGE} and sign in with it: integ login steam"
_PRIVATE_HINT = "set Profile > Edit Profile > Privacy > Game details to Public at Steam, or sign in with your own API key"
_NOT_GAMES = {3, 5, 6, 7, 8, 9, 10, 11, 13, 14}
"""Store item types: films, guides, software, videos, hardware, music, tools, advertising."""
_DLC = 4


class Steam:
    """Steam as a store."""

    slug: ClassVar[str] = "steam"
    title: ClassVar[str] = "Steam"
    ways: ClassVar[tuple[SignInWay, ...]] = (SignInWay.OPENID, SignInWay.API_KEY, SignInWay.QR)
    key_page: ClassVar[str] = KEY_PAGE
    metadata_batch: ClassVar[int] = 50
    """Steam documents no limit; its own pages ask for 50 to 100 at once."""

    def __init__(self, http: httpx.AsyncClient, config: ProviderConfig | None = None) -> None:
        self._http = http
        self._config = config or ProviderConfig()

    nonce_of = staticmethod(_openid.nonce_of)

    def sign_in_address(self, way: SignInWay, return_to: str, state: str) -> str:
        """
        The OpenID page; empty for a key.

        Raises:
            UsageError: *return_to* is no address that a browser could come back to.
        """
        return _openid.page_address(return_to, state) if way is SignInWay.OPENID else ""

    async def sign_in(self, answer: SignInAnswer, *, return_to: str) -> SignedInAccount:
        """
        Check an OpenID assertion, or a key and the account it is to read.

        Raises:
            AuthenticationError: It was cancelled, forged, too old or used before; the key is wrong; there is no such account.
            UsageError: What was given is no account.
            ProviderUnavailableError: Steam did not answer.
        """
        key = answer.api_key.strip() or self._config.steam_api_key
        if not key and answer.way is SignInWay.OPENID:  # who it is, and no more: the caller knows that the library takes a key
            return SignedInAccount(Credentials(await self._confirmed_account(answer.query, return_to), ""), "")
        if not _KEY.match(key):
            what = "that is no Steam Web API key" if key else "reading a Steam library needs a Steam Web API key"
            raise AuthenticationError(what, hint=_KEY_HINT)
        if answer.way is SignInWay.OPENID:
            account = await self._confirmed_account(answer.query, return_to)
        else:
            account = await self._account(key, answer.account)
        shown = await self._shown_as(Credentials(account, key), known_to_exist=answer.way is SignInWay.OPENID)
        login = Credentials(account, answer.api_key.strip())
        return SignedInAccount(login, shown.display_name, shown.avatar_url, shown.profile_url)

    async def profile(self, login: Credentials) -> StoreProfile | None:
        """
        How Steam shows the account today.

        Raises:
            AuthenticationError: Steam refused the key.
            PermissionDeniedError: Steam does not tell it to an access token.
            ProviderError: Steam answered oddly, is down, or asks for a pause.
        """
        return await self._summary(login)

    async def begin_qr(self, device: str) -> QrSession:
        """
        A code for the Steam app.

        Raises:
            ProviderError: Steam's answer holds none.
            ProviderUnavailableError: Steam did not answer, or asks for a pause.
        """
        return await _steam_qr.begin(self._http, self.title, device)

    async def poll_qr(self, session: QrSession) -> QrSession | SignedInAccount:
        """
        What the phone said so far.

        Raises:
            AuthenticationError: It said no, or the session is over.
            ProviderError: Steam answered oddly, or not at all.
        """
        told = await _steam_qr.poll(self._http, self.title, session)
        if isinstance(told, QrSession):
            return told
        try:
            shown = await self._shown_as(told, known_to_exist=True)
        except IntegError:  # the session is spent, and some methods may not take a token
            shown = StoreProfile(told.account)
        return SignedInAccount(told, shown.display_name, shown.avatar_url, shown.profile_url)

    def runs_out(self, login: Credentials) -> bool:
        """A sign-in by QR code does, after a day; one with a key, the backend's or the player's own, does not."""
        return is_token(login.secret)

    async def renew(self, login: Credentials) -> Credentials:
        """
        A fresh access token, and the refresh token to keep, which may be another one.

        Raises:
            AuthenticationError: Steam says that the sign-in is over.
            ProviderUnavailableError: Steam did not answer.
        """
        return await renewed(self._http, self.title, login)

    async def owned_games(self, login: Credentials) -> AsyncIterator[OwnedGame]:
        """
        Yield every game of the account, free ones that were started once included; DLC and borrowed games are not in Steam's list.

        Raises:
            AuthenticationError: The key is wrong.
            PrivateProfileError: The account hides its games from this key.
            ProviderError: The list is not whole, or none.
            ProviderUnavailableError: Steam is down or asks for a pause.

        Source: https://partner.steamgames.com/doc/webapi/IPlayerService
        """
        for app in await self._owned_apps(login):
            yield OwnedGame(
                str(app.appid),
                app.name,
                playtime_min=app.playtime_forever + app.playtime_disconnected,
                last_played_at=moment(app.rtime_last_played),
            )

    async def metadata(self, ids: Sequence[str]) -> list[GameMetadata]:
        """One answer for each of *ids* that the store's item service knows, or says it does not show."""
        found: list[GameMetadata] = [GameMetadata(each, found=False) for each in ids if not _is_appid(each)]
        asked = [each for each in dict.fromkeys(ids) if _is_appid(each)]
        for at in range(0, len(asked), self.metadata_batch):
            found.extend(await self._store_items(asked[at : at + self.metadata_batch]))
        return found

    async def achievements(self, login: Credentials, game_id: str) -> list[Achievement]:
        """
        All achievements of a game and which of them the account has.

        Raises:
            AuthenticationError: Steam refused the key.
            PrivateProfileError: The account hides its games from this key.
            ProviderError: Steam answered oddly, is down, or asks for a pause.
        """
        if not _is_appid(game_id):
            raise GameNotFoundError("that is no Steam app id")
        return await read_achievements(lambda method, params: self._call(method, login, params), login.account, game_id)

    async def download_plan(self, login: Credentials, game_id: str, wanted: DownloadRequest) -> DownloadPlan:
        """Steam's own client downloads: the address that starts it. The title is the caller's to fill in."""
        del login
        if not _is_appid(game_id):
            raise GameNotFoundError("that is no Steam app id")
        return DownloadPlan(
            key=f"{self.slug}:{game_id}",
            title="",
            kind="steam_client",
            platform=wanted.platform or "linux",
            steam_url=f"steam://install/{game_id}",
        )

    async def _owned_apps(self, login: Credentials) -> list[OwnedApp]:
        params: dict[str, str | int] = {
            "steamid": login.account,
            "include_appinfo": 1,
            "include_played_free_games": 1,
            "include_free_sub": 1,
            "skip_unvetted_apps": 0,  # Steam's default leaves out games with limited profile features
        }
        answer = await self._call("IPlayerService/GetOwnedGames/v1/", login, params)
        told = answer.model(OwnedGamesAnswer).response
        if told.game_count is None and told.games is None:
            raise PrivateProfileError("Steam hides this account's games", hint=_PRIVATE_HINT)
        games = told.games or []
        each = {app.appid: app for app in sorted(games, key=lambda app: app.playtime_forever)}
        if told.game_count not in {len(games), len(each)}:
            raise ProviderError(f"Steam sent {len(games)} games and announced {told.game_count}", hint="try again: integ sync steam")
        return list(each.values())

    async def _confirmed_account(self, query: str, return_to: str) -> str:
        account, fields = _openid.checked_fields(query, return_to, now=datetime.now(UTC))
        # Once and never again: Steam confirms an assertion a single time, and a second try would call the player a forger.
        answer = await ask(
            self._http, self.title, _openid.ENDPOINT, method="POST", data=_openid.verification(fields), retries="none", time_limit_s=10
        )
        if answer.status != 200:
            error = error_for(answer)
            pause = error.retry_after_s
            raise ProviderUnavailableError(
                "Steam could not check the sign-in", hint="try again in a minute", retry_after_s=pause
            ) from error
        _openid.check_confirmed(answer.body)
        return account

    async def _account(self, key: str, text: str) -> str:
        named = read_account(text)
        if named.steamid:
            return named.steamid
        answer = await self._call("ISteamUser/ResolveVanityURL/v1/", Credentials("", key), {"vanityurl": named.vanity, "url_type": 1})
        told = answer.model(VanityAnswer).response
        if told.success != 1 or not told.steamid:
            raise AuthenticationError(f"Steam knows no profile named {named.vanity}", hint=ACCOUNT_HINT)
        return read_account(told.steamid).steamid

    async def _shown_as(self, login: Credentials, *, known_to_exist: bool) -> StoreProfile:
        account = login.account
        try:
            found = await self._summary(login)
        except ProviderError:
            if not known_to_exist:  # else the assertion is spent already, and a name is not worth another sign-in
                raise
            return StoreProfile(account)
        if found is None and not known_to_exist:
            raise AuthenticationError("Steam knows no such account", hint=ACCOUNT_HINT)
        return found or StoreProfile(account)

    async def _summary(self, login: Credentials) -> StoreProfile | None:
        """What the account's public profile says; None for an account that Steam does not know."""
        account = login.account
        answer = await self._call("ISteamUser/GetPlayerSummaries/v2/", login, {"steamids": account})
        for player in answer.model(PlayersAnswer).response.players:
            if player.steamid == account:
                return StoreProfile(player.personaname or account, player.avatarmedium, player.profileurl)
        return None

    async def _store_items(self, ids: Sequence[str]) -> list[GameMetadata]:
        asked = {
            "ids": [{"appid": int(each)} for each in ids],
            "context": {"language": "english", "country_code": "US"},
            "data_request": {"include_assets": True, "include_release": True, "include_platforms": True, "include_basic_info": True},
        }
        params = {"input_json": json.dumps(asked, separators=(",", ":"))}
        answer = await ask(self._http, self.title, f"{API}/IStoreBrowseService/GetItems/v1/", params=params)
        if answer.status in {401, 403}:  # it takes no key: this is about our address, and goes away
            raise ProviderUnavailableError("Steam's store does not answer this address for now", hint="try again later")
        wanted = set(ids)
        found: dict[str, GameMetadata] = {}
        for item in answer.model(StoreItemsAnswer).response.store_items:
            appid = str(item.appid or item.id or "")
            if appid in wanted:
                found[appid] = _metadata(appid, item)
        return list(found.values())

    async def _call(self, method: str, login: Credentials, params: dict[str, str | int]) -> Answer:
        """Ask a method that wants to know who asks; its refusals of the key or token become `AuthenticationError`s."""
        if login.access_token:
            answer = await self._ask_with(method, {"access_token": login.access_token}, params)
            if answer.status != 401:
                return answer
            if method.startswith("IPlayerService/"):
                raise AuthenticationError("Steam refused the access token", hint="sign in again: integ login steam --qr")
            # the classic interfaces are made for keys, and which of them take a token is written down nowhere
            if not self._config.steam_api_key:
                raise PermissionDeniedError("Steam tells that to Web API keys alone", hint=_KEY_HINT)
        key = (login.secret if not is_token(login.secret) else "") or self._config.steam_api_key
        if not key:
            raise AuthenticationError("reading a Steam library needs a Steam Web API key", hint=_KEY_HINT)
        answer = await self._ask_with(method, {"key": key}, params)
        # a 403 with JSON is the method's own answer (a private profile, say); with a web page it is about the key
        about_key = answer.status in {401, 403} and answer.find_model(AnyJson) is None
        if about_key or (answer.status == 400 and answer.looks_like_html and b"key" in answer.body):
            raise AuthenticationError("Steam refused the API key", hint=_KEY_HINT)
        return answer

    async def _ask_with(self, method: str, who: dict[str, str | int], params: dict[str, str | int]) -> Answer:
        return await ask(self._http, self.title, f"{API}/{method}", params={**who, **params, "format": "json"})


def _is_appid(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:11]) < 2**32 and not text.startswith("0")


def _metadata(appid: str, item: StoreItem) -> GameMetadata:
    if item.success != 1:
        return GameMetadata(appid, found=False)
    first = moment(item.release.original_release_date) or moment(item.release.steam_release_date)
    here = None if item.release.is_coming_soon else moment(item.release.steam_release_date) or first
    parent = item.related_items.parent_appid
    flags = (("linux", item.platforms.steamos_linux), ("windows", item.platforms.windows), ("mac", item.platforms.mac))
    return GameMetadata(
        appid,
        found=True,
        title=item.name,
        kind="dlc" if item.type == _DLC else "tool" if item.type in _NOT_GAMES else "game",
        parent_id=str(parent) if parent and item.type == _DLC else None,
        year=first.year if first else None,
        platforms=tuple(name for name, has in flags if has),
        details=TitleDetails(
            description=plain_text(item.basic_info.short_description),
            developers=[each.name for each in item.basic_info.developers if each.name],
            publishers=[each.name for each in item.basic_info.publishers if each.name],
            release_date=here.date().isoformat() if here else None,
            cover_url=_cover(item),
            links={"store": f"https://store.steampowered.com/app/{appid}/"},
        ),
    )


def _cover(item: StoreItem) -> str | None:
    """The tall cover; its folder is a hash for newer games, so that it can't be guessed from the id."""
    name = item.assets.library_capsule or item.assets.header
    path = item.assets.asset_url_format.replace("${FILENAME}", name)
    if (
        not name
        or "${FILENAME}" not in item.assets.asset_url_format
        or not re.fullmatch(r"[A-Za-z0-9_./?=&-]{1,400}", path)
        or ".." in path
    ):
        return None
    return f"{ASSETS}{path.lstrip('/')}"


PROVIDER = Steam

"""What an account at GOG owns, joined from three lists of which none is complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

import httpx

from integ_server.contract.errors import AuthenticationError, ProviderError
from integ_server.providers._gog_models import (
    PRODUCT_ID,
    GogModel,
    LibraryPage,
    LibraryRow,
    OwnedIds,
    ProductPage,
    ProductRow,
    platforms_of,
)
from integ_server.providers._http import Answer, all_of, ask
from integ_server.providers.base import Credentials, OwnedGame

STORE = "GOG"
EMBED = "https://embed.gog.com"
LIBRARY = "https://galaxy-library.gog.com"
_MOST_PAGES = 1_000
_EXTRAS = {"1424856371", "1980301910", "2005648906", "1486144755", "1581684020", "1185685769"}
"""Packs of goodies that the account page lists among the games (minigalaxy skips the same ones)."""
_AGAIN = "try again: integ sync gog"
M = TypeVar("M", bound=GogModel)


@dataclass(slots=True)
class _Lists:
    """The three, each whole."""

    releases: dict[str, LibraryRow] = field(default_factory=dict)
    products: dict[str, ProductRow] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    owned: set[str] = field(default_factory=set)


async def owned_games(http: httpx.AsyncClient, login: Credentials) -> list[OwnedGame]:
    """
    Everything that *login* owns. What only the list of licences knows (packs, goodies, DLC not in Galaxy's list) comes as a `tool` until
    its metadata says more, so that it is neither lost nor shown as a game without a name.

    Raises:
        AuthenticationError: GOG wants another access token.
        ProviderError: A list is not whole.
    """
    lists = _Lists()
    lists.releases = await _releases(http, login)  # first and alone: it says clearly when the token is stale
    shown, hidden = await all_of(_products(http, login, hidden=False), _products(http, login, hidden=True))
    lists.owned = await owned_ids(http, login)
    lists.products = {**shown, **hidden}
    lists.hidden = set(hidden)
    if lists.owned and not lists.releases and not lists.products:
        raise ProviderError("GOG says that games are owned, and lists none", hint=_AGAIN)
    ids = dict.fromkeys([*lists.products, *lists.releases, *sorted(lists.owned)])
    return [_joined(each, lists) for each in ids]


async def owned_ids(http: httpx.AsyncClient, login: Credentials) -> set[str]:
    """Every product the account has a licence for: the authority on who owns which DLC. Raises as `owned_games` does."""
    answer = await ask(http, STORE, f"{EMBED}/user/data/games", bearer=login.access_token)
    return set(account_answer(answer, OwnedIds).owned)


def account_answer(answer: Answer, kind: type[M]) -> M:
    """
    What embed.gog.com answered, read as *kind*.

    Raises:
        AuthenticationError: It has no 401; a stale token gets a redirect to the sign-in, or a web page with 200.
    """
    if 300 <= answer.status < 400 or (answer.status == 200 and answer.looks_like_html):
        raise AuthenticationError("GOG wants a new sign-in", hint="integ login gog")
    return answer.model(kind)


def _joined(product_id: str, lists: _Lists) -> OwnedGame:
    row, release = lists.products.get(product_id), lists.releases.get(product_id)
    is_game = (row is not None and not row.isMovie) or (release is not None and row is None)
    works_on = {name for name, works in row.worksOn.items() if works} if row else set()
    return OwnedGame(
        product_id,
        row.title if row else "",
        kind="game" if is_game and product_id not in _EXTRAS else "tool",
        platforms=platforms_of(works_on),
        hidden=product_id in lists.hidden or bool(row and row.isHidden) or bool(release and release.hidden),
    )


async def _releases(http: httpx.AsyncClient, login: Credentials) -> dict[str, LibraryRow]:
    found: dict[str, LibraryRow] = {}
    rows = 0
    token = ""
    seen: set[str] = set()
    for _ in range(_MOST_PAGES):
        params: dict[str, str | int] = {"page_token": token} if token else {}
        answer = await ask(
            http, STORE, f"{LIBRARY}/users/{quote(login.account, safe='')}/releases", params=params, bearer=login.access_token
        )
        page = answer.model(LibraryPage)
        rows += len(page.items)
        for row in page.items:
            if row.platform_id == "gog" and row.owned and PRODUCT_ID.match(row.external_id):
                found[row.external_id] = row
        token = page.next_page_token or ""
        if not token:
            if page.total_count is not None and rows < page.total_count:
                raise ProviderError(f"GOG sent {rows} library rows and announced {page.total_count}", hint=_AGAIN)
            return found
        if token in seen:
            raise ProviderError("GOG hands out the same page of the library again and again", hint=_AGAIN)
        seen.add(token)
    raise ProviderError("GOG's library has no end", hint=_AGAIN)


async def _products(http: httpx.AsyncClient, login: Credentials, *, hidden: bool) -> dict[str, ProductRow]:
    found: dict[str, ProductRow] = {}
    rows = 0
    for page_number in range(1, _MOST_PAGES + 1):
        params: dict[str, str | int] = {"mediaType": 1, "page": page_number, "sortBy": "title", "hiddenFlag": int(hidden)}
        answer = await ask(http, STORE, f"{EMBED}/account/getFilteredProducts", params=params, bearer=login.access_token)
        page = account_answer(answer, ProductPage)
        rows += len(page.products)
        found.update((row.id, row) for row in page.products)
        if page_number >= page.totalPages:
            if page.totalProducts is not None and rows < page.totalProducts:
                raise ProviderError(f"GOG sent {rows} products and announced {page.totalProducts}", hint=_AGAIN)
            return found
    raise ProviderError("GOG's list of products has no end", hint=_AGAIN)

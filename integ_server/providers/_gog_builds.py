"""Galaxy builds: which one, which of its depots, and the signed ways to its chunks."""

from __future__ import annotations

import re
from typing import Annotated, Any

import httpx
from pydantic import BeforeValidator, Field

from integ_server.addresses import check_outside
from integ_server.contract.errors import NotFoundError, PermissionDeniedError, ProviderError, ProviderUnavailableError, UsageError
from integ_server.contract.types import CdnEndpoint, DepotRef, DownloadPlan, DownloadRequest
from integ_server.providers._gog_languages import choose_language, codes_of, is_for_all
from integ_server.providers._gog_models import GogModel, Id, ProductId, Text, as_dict, as_list, text_or_empty
from integ_server.providers._http import Answer, all_of, ask, error_for, inflated
from integ_server.providers._text import Count, Line
from integ_server.providers.base import Credentials

STORE = "GOG"
CONTENT = "https://content-system.gog.com"
CDN = "https://gog-cdn-fastly.gog.com"
_MANIFEST = re.compile(r"[0-9a-f]{32}\Z")
_GENERATION = 2


class Way(GogModel):
    """One endpoint, of a build's meta or of a product's chunks."""

    endpoint_name: Text = ""
    url: Text = Field(default="", repr=False)
    url_format: Text = Field(default="", repr=False)
    parameters: Annotated[dict[str, Any], BeforeValidator(as_dict)] = Field(default={}, repr=False)
    priority: int = 0
    supports_generation: Annotated[list[int], BeforeValidator(as_list)] = []
    fallback_only: bool = False


Ways = Annotated[list[Way], BeforeValidator(as_list)]


class Build(GogModel):
    build_id: Id
    branch: str | None = None
    version_name: Text = ""
    generation: int = 1
    link: Text = ""
    urls: Ways = []


class Builds(GogModel):
    items: Annotated[list[Build], BeforeValidator(as_list)] = []


class Depot(GogModel):
    productId: ProductId
    languages: Annotated[list[str], BeforeValidator(as_list)] = []
    osBitness: Annotated[list[str], BeforeValidator(as_list)] = []
    manifest: str
    size: Count = 0
    compressedSize: Count = 0


class Product(GogModel):
    productId: ProductId
    name: Line = ""


class Meta(GogModel):
    baseProductId: ProductId
    buildId: Annotated[Id, BeforeValidator(text_or_empty)] = ""
    depots: list[Depot]
    installDirectory: Line = ""
    products: Annotated[list[Product], BeforeValidator(as_list)] = []


class Links(GogModel):
    urls: Ways


class Refusal(GogModel):
    error: Text = ""


class GogBuilds:
    """Plans a download from the content system for one account."""

    def __init__(self, http: httpx.AsyncClient, login: Credentials) -> None:
        self._http = http
        self._login = login

    async def plan(self, game_id: str, wanted: DownloadRequest, owned: set[str]) -> DownloadPlan:
        """
        Raises:
            NotFoundError: No such build, branch or DLC; no build that Integ can install.
            PermissionDeniedError: The account does not own the game, or a DLC that was named.
        """
        build = _choose(await self._builds(game_id), wanted)
        meta = await self._meta(build)
        base = meta.baseProductId
        dlc = _choose_dlc(meta, wanted, owned)
        language = choose_language(
            wanted.language, codes_of(name for depot in meta.depots if depot.productId == base for name in depot.languages)
        )
        depots = _choose_depots(meta, {base, *dlc}, language)
        links = dict(
            zip(
                [base, *dlc],
                await all_of(*(self._links(each, optional=each != base and wanted.dlc == "all") for each in [base, *dlc])),
                strict=True,
            )
        )
        installed = [each for each in dlc if links[each]]
        depots = [depot for depot in depots if depot.productId == base or depot.productId in installed]
        names = {product.productId: product.name for product in meta.products}
        return DownloadPlan(
            key=f"gog:{game_id}",
            title=names.get(base, ""),
            kind="galaxy",
            build=build.build_id,
            version=build.version_name,
            platform="windows",
            language=language,
            dlc=installed,
            folder_name=meta.installDirectory,
            download_bytes=sum(depot.compressedSize for depot in depots),
            disk_bytes=sum(depot.size for depot in depots),
            depots=[
                DepotRef(
                    product_id=depot.productId,
                    manifest_url=manifest_address(depot.manifest),
                    size_bytes=depot.size,
                    compressed_bytes=depot.compressedSize,
                )
                for depot in depots
            ],
            endpoints={product: ways for product, ways in links.items() if ways},
        )

    async def _builds(self, game_id: str) -> list[Build]:
        params: dict[str, str | int] = {"generation": _GENERATION, "_version": 2}
        address = f"{CONTENT}/products/{game_id}/os/windows/builds"
        answer = await ask(self._http, STORE, address, params=params, bearer=self._login.access_token)
        builds = [] if answer.status == 404 else answer.model(Builds).items
        if not builds:
            raise NotFoundError("GOG has no Windows build of this game")
        return builds

    async def _meta(self, build: Build) -> Meta:
        """The build's own description; public, so that no token goes to the CDN."""
        ways = sorted((way for way in build.urls if way.url), key=lambda way: (way.fallback_only, -way.priority))
        addresses = [*(way.url for way in ways), *([build.link] if build.link else [])]
        failed: ProviderError = ProviderError("GOG does not say where the build is described")
        for address in addresses:
            try:
                answer = await ask(self._http, STORE, check_outside(address))
                return _unpacked(answer)
            except ProviderUnavailableError as error:  # the next endpoint may answer
                failed = error
        raise failed

    async def _links(self, product_id: str, *, optional: bool) -> list[CdnEndpoint]:
        """The signed ways to a product's chunks, best first; empty for an *optional* one without a licence."""
        params: dict[str, str | int] = {"_version": 2, "generation": _GENERATION, "path": "/"}
        answer = await ask(
            self._http, STORE, f"{CONTENT}/products/{product_id}/secure_link", params=params, bearer=self._login.access_token
        )
        if answer.status == 403:
            refusal = answer.find_model(Refusal)
            if optional and refusal is not None and refusal.error == "invalid_licence":
                return []
            raise PermissionDeniedError(f"GOG says that this account does not own product {product_id}")
        ways = [way for way in answer.model(Links).urls if _is_usable(way)]
        if not ways:
            raise ProviderError("GOG names no way to download this game that Integ knows")
        ways.sort(key=lambda way: (way.fallback_only, -way.priority))
        return [
            CdnEndpoint(
                endpoint_name=way.endpoint_name,
                url_format=way.url_format,
                parameters=way.parameters,
                priority=way.priority,
                fallback_only=way.fallback_only,
            )
            for way in ways
        ]


def manifest_address(manifest: str) -> str:
    """
    Where a depot's manifest lies.

    Raises:
        ProviderError: *manifest* is no hash, so that it could name any place.
    """
    if not _MANIFEST.match(manifest):
        raise ProviderError("GOG names a depot manifest that is no hash")
    return f"{CDN}/content-system/v2/meta/{manifest[:2]}/{manifest[2:4]}/{manifest}"


def _unpacked(answer: Answer) -> Meta:
    if answer.status != 200:
        raise error_for(answer)
    return Answer(answer.store, 200, answer.headers, inflated(answer.body, STORE)).model(Meta)


def _is_usable(way: Way) -> bool:
    if way.supports_generation and _GENERATION not in way.supports_generation:
        return False
    base = way.parameters.get("base_url", way.url_format)
    plain = all(isinstance(value, str | int) for value in way.parameters.values())
    return (
        plain
        and bool(way.url_format)
        and isinstance(way.parameters.get("path"), str)
        and isinstance(base, str)
        and base.startswith("https://")
    )


def _choose(builds: list[Build], wanted: DownloadRequest) -> Build:
    if wanted.build:
        chosen = [build for build in builds if build.build_id == wanted.build]
        if not chosen:
            raise NotFoundError(f"GOG does not list build {wanted.build}", hint=f"listed: {_listed({build.build_id for build in builds})}")
    elif wanted.branch:
        chosen = [build for build in builds if build.branch == wanted.branch]
        if not chosen:
            raise NotFoundError(
                f"there is no public branch {wanted.branch}", hint=f"listed: {_listed({build.branch or '' for build in builds} - {''})}"
            )
    else:
        chosen = [build for build in builds if build.branch is None] or builds
    usable = [build for build in chosen if build.generation == _GENERATION]
    if not usable:
        raise UsageError(
            "GOG has this game only in its oldest format, which Integ can't install", hint="integ install GAME --platform linux"
        )
    return usable[0]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:12]) or "none"


def _choose_dlc(meta: Meta, wanted: DownloadRequest, owned: set[str]) -> list[str]:
    """The DLC to install, in the build's order: owned, wanted, and with a depot of their own."""
    named = [product.productId for product in meta.products] + [depot.productId for depot in meta.depots]
    there = [each for each in dict.fromkeys(named) if each != meta.baseProductId]
    with_depot = {depot.productId for depot in meta.depots}
    if wanted.dlc == "none":
        return []
    if wanted.dlc == "all":
        return [each for each in there if each in owned and each in with_depot]
    for each in wanted.dlc:
        if each not in there:
            raise NotFoundError(f"this build has no DLC {each}", hint=f"it has: {_listed(set(there))}")
        if each not in owned:
            raise PermissionDeniedError(f"this account does not own the DLC {each}")
    return [each for each in there if each in wanted.dlc and each in with_depot]


def _choose_depots(meta: Meta, products: set[str], language: str) -> list[Depot]:
    """Those for the products, the language and a 64-bit machine; the base game's first, since a DLC's copy of a file wins."""
    fitting = [
        depot
        for depot in meta.depots
        if depot.productId in products and (is_for_all(depot.languages) or language in codes_of(depot.languages))
    ]
    # a game that only has parts for 32-bit Windows runs on 64 bits too, and needs them
    only_32 = {each for each in products if not any(_fits(depot, "64") for depot in fitting if depot.productId == each)}
    chosen = [depot for depot in fitting if _fits(depot, "32" if depot.productId in only_32 else "64")]
    return sorted(chosen, key=lambda depot: depot.productId != meta.baseProductId)


def _fits(depot: Depot, bitness: str) -> bool:
    marks = set(depot.osBitness)
    return not marks or bitness in marks or (f"!{bitness}" not in marks and all(mark.startswith("!") for mark in marks))

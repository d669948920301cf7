"""The Proton release feed: api.github.com, the redirect of github.com, and the asset host with its signed, short-lived addresses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from integ_server.sandbox.answers import FileAnswer, html
from integ_server.sandbox.proton_archive import VARIANTS, ArchiveName, archive, archive_size, sha256, sha512
from integ_server.sandbox.proton_releases import Asset, Release, Repository, repositories
from integ_server.sandbox.state import SandboxState

ASSET_HOST = "release-assets.githubusercontent.com"
_LINK_S = 300
_HOUR_S = 3_600
_JSON = "application/json; charset=utf-8"
_DOCS = "https://docs.github.com/rest"


@dataclass
class _Feed:
    """What GitHub counts and hands out."""

    used: dict[str, int] = field(default_factory=dict)
    """Calls in this hour, by token (empty: anonymous)."""
    resets_at: float = 0.0
    links: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Signature -> when it runs out, and which path it is for."""


def routes(state: SandboxState) -> list[Route]:
    async def releases(request: Request) -> Response:
        return _api(state, request, _find(request), lambda found: _page(state, request, found))

    async def latest(request: Request) -> Response:
        return _api(state, request, _find(request), lambda found: _latest(state, found))

    async def tagged(request: Request) -> Response:
        return _api(state, request, _find(request), lambda found: _tagged(state, found, request.path_params["tag"]))

    async def quota(request: Request) -> Response:
        core = _quota(state, request)
        return Response(json.dumps({"resources": {"core": core}, "rate": core}), media_type=_JSON)

    async def download(request: Request) -> Response:
        return _download(state, request)

    async def bytes_of_asset(request: Request) -> Response:
        return _asset_bytes(state, request)

    listed = []
    for root in ("/api.github.com/repos/{owner}/{repo}", "/api.github.com/repositories/{id:int}"):
        listed += [
            Route(f"{root}/releases", releases),
            Route(f"{root}/releases/latest", latest),
            Route(f"{root}/releases/tags/{{tag}}", tagged),
        ]
    return [
        *listed,
        Route("/api.github.com/rate_limit", quota),
        Route("/github.com/{owner}/{repo}/releases/download/{tag}/{asset}", download),
        Route(f"/{ASSET_HOST}/github-production-release-asset/{{repo:int}}/{{asset:int}}", bytes_of_asset),
    ]


def _find(request: Request) -> Repository | None:
    at = request.path_params
    if "id" in at:
        return next((one for one in repositories().values() if one.id == at["id"]), None)
    return repositories().get(f"{at['owner']}/{at['repo']}".lower())


# --- api.github.com ------------------------------------------------------------------------------------------------


def _api(state: SandboxState, request: Request, repository: Repository | None, answer: Any) -> Response:
    """Quota, faults and ETags around one answer; a failure is always an object, also where success is a list."""
    if not request.headers.get("user-agent"):
        text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
        return PlainTextResponse(text, 403)
    struck = state.faults.hit
    if struck("feed.down"):
        return _failure("Server Error", 502)
    if struck("feed.html"):
        return html("Unicorn! · GitHub", "<p>We had issues producing the response to your request.</p>")
    if struck("feed.secondary_limit"):
        return _failure(
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", 429, {"retry-after": "60"}
        )
    limits = _count(state, request, spent=struck("feed.rate_limited"))
    if limits["x-ratelimit-remaining"] == "0":
        return _failure("API rate limit exceeded for 127.0.0.1. (But here's the good news: ...)", 403, limits)
    if repository is None:
        return _failure("Not Found", 404, limits)
    value, headers = answer(repository)
    if value is None:
        return _failure("Not Found", 404, limits)
    body = json.dumps(value, separators=(",", ":")).encode()
    token = request.headers.get("authorization", "")
    tag = f'W/"{hashlib.sha256(body + token.encode()).hexdigest()}"'
    headers = {**limits, **headers, "etag": tag, "cache-control": "public, max-age=60, s-maxage=60"}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type=_JSON)


def _failure(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps({"message": message, "documentation_url": _DOCS, "status": str(status)}), status, headers, media_type=_JSON)


def _quota(state: SandboxState, request: Request) -> dict[str, int]:
    feed, token = state.part(_Feed), request.headers.get("authorization", "")
    if state.clock() >= feed.resets_at:
        feed.used.clear()
        feed.resets_at = state.clock() + _HOUR_S
    limit, used = 5_000 if token else 60, feed.used.get(token, 0)
    return {"limit": limit, "used": used, "remaining": max(0, limit - used), "reset": int(feed.resets_at)}


def _count(state: SandboxState, request: Request, *, spent: bool) -> dict[str, str]:
    """One call more; the headers that say what is left. An anonymous 304 counts like any other."""
    before = _quota(state, request)
    token = request.headers.get("authorization", "")
    used = before["limit"] if spent else before["used"] + 1
    if not spent:
        state.part(_Feed).used[token] = used
    return {
        "x-ratelimit-limit": str(before["limit"]),
        "x-ratelimit-remaining": str(max(0, before["limit"] - used)),
        "x-ratelimit-used": str(used),
        "x-ratelimit-reset": str(before["reset"]),
        "x-ratelimit-resource": "core",
    }


def _page(state: SandboxState, request: Request, repository: Repository) -> tuple[object, dict[str, str]]:
    size = min(100, _positive(request.query_params.get("per_page"), 30))
    page = _positive(request.query_params.get("page"), 1)
    pages = max(1, -(-len(repository.releases) // size))
    shown = repository.releases[(page - 1) * size : page * size]
    root = f"https://api.github.com/repositories/{repository.id}/releases?per_page={size}&page="
    links = []
    if page > 1:
        links += [f'<{root}{page - 1}>; rel="prev"']
    if page < pages:
        links += [f'<{root}{page + 1}>; rel="next"', f'<{root}{pages}>; rel="last"']
    if page > 1:
        links += [f'<{root}1>; rel="first"']
    return [_shown(state, repository, release) for release in shown], {"link": ", ".join(links)} if links else {}


def _positive(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and int(text) else otherwise


def _latest(state: SandboxState, repository: Repository) -> tuple[object, dict[str, str]]:
    stable = _newest_stable(repository)
    return (None if stable is None else _shown(state, repository, stable)), {}


def _newest_stable(repository: Repository) -> Release | None:
    return next((release for release in repository.releases if not (release.draft or release.prerelease)), None)


def _tagged(state: SandboxState, repository: Repository, tag: str) -> tuple[object, dict[str, str]]:
    found = next((release for release in repository.releases if release.tag == tag and not release.draft), None)
    return (None if found is None else _shown(state, repository, found)), {}


def _shown(state: SandboxState, repository: Repository, release: Release) -> dict[str, object]:
    active = state.faults.active
    page = f"https://github.com/{repository.owner}/{repository.name}/releases"
    empty = active("feed.no_assets") or (active("feed.newest_empty") and release == _newest_stable(repository))
    assets = [asset for asset in release.assets if not (asset.is_checksum and active("feed.no_checksum"))]
    return {
        "url": f"https://api.github.com/repos/{repository.owner}/{repository.name}/releases/{release.id}",
        "html_url": f"{page}/tag/{quote(release.tag)}",
        "id": release.id,
        "tag_name": release.tag,
        "target_commitish": "master",
        "name": f"{release.tag} Released",
        "draft": release.draft,
        "prerelease": release.prerelease,
        "created_at": release.published_text,
        "published_at": None if release.draft else release.published_text,
        "assets": [] if empty else [_shown_asset(state, repository, release, asset) for asset in assets],
        "body": f"## {release.tag}\n\nA build of the sandbox; it brings no Wine of its own.\n",
    }


def _shown_asset(state: SandboxState, repository: Repository, release: Release, asset: Asset) -> dict[str, object]:
    active = state.faults.active
    held = _bent(state, asset.archive)
    scheme = "http" if active("feed.insecure_address") else "https"
    if not release.has_digests or active("feed.no_checksum") or held.variant == "bomb":
        digest = None  # a bomb's would take a second each; its checksum file is enough
    elif asset.is_checksum:
        digest = f"sha256:{hashlib.sha256(_checksum_text(state, held)).hexdigest()}"
    else:
        digest = f"sha256:{hashlib.sha256(b'another file').hexdigest() if active('feed.wrong_checksum') else sha256(held)}"
    return {
        "id": asset.id,
        "name": asset.name,
        "label": None,
        "state": "uploaded",
        "content_type": "application/octet-stream",
        "size": len(_checksum_text(state, held)) if asset.is_checksum and active("feed.checksum_garbage") else _size(asset, held),
        "digest": digest,
        "download_count": 1_000,
        "created_at": release.published_text,
        "updated_at": release.published_text,
        "browser_download_url": (
            f"{scheme}://github.com/{repository.owner}/{repository.name}/releases/download/{quote(release.tag, safe='')}/{asset.name}"
        ),
    }


def _size(asset: Asset, held: ArchiveName) -> int:
    """Without making the archive: a checksum line is 128 digits, two spaces, the name and a line end."""
    return 131 + len(asset.name.removesuffix(".sha512sum")) + len(f".tar.{held.packing}") if asset.is_checksum else archive_size(held)


def _bent(state: SandboxState, honest: ArchiveName) -> ArchiveName:
    """The archive that the faults make of an honest one."""
    wrong = next((name for name in sorted(VARIANTS) if state.faults.active(f"feed.{name}")), "")
    return replace(honest, variant=wrong)


def _checksum_text(state: SandboxState, held: ArchiveName) -> bytes:
    if state.faults.active("feed.checksum_garbage"):
        return b"<html><body>Not what you are looking for</body></html>\n"
    digest = hashlib.sha512(b"another file").hexdigest() if state.faults.active("feed.wrong_checksum") else sha512(held)
    return f"{digest}  {held.stem or held.top}.tar.{held.packing}\n".encode()


# --- github.com and the asset host ---------------------------------------------------------------------------------


def _download(state: SandboxState, request: Request) -> Response:
    """A redirect to a signed address on another host that works for five minutes."""
    repository, at = _find(request), request.path_params
    releases = () if repository is None else repository.releases
    found = [asset for release in releases if release.tag == at["tag"] and not release.draft for asset in release.assets]
    asset = next((asset for asset in found if asset.name == at["asset"]), None)
    if repository is None or asset is None or state.faults.hit("feed.asset_gone"):
        return PlainTextResponse("Not Found", 404)
    path = f"/github-production-release-asset/{repository.id}/{asset.id}"
    signature, ends_at = state.secret(64), state.clock() + _LINK_S
    state.part(_Feed).links[signature] = (ends_at, path)
    query = urlencode({
        "sp": "r",
        "se": int(ends_at),
        "sig": signature,
        "response-content-disposition": f"attachment; filename={asset.name}",
    })  # fmt: skip
    return RedirectResponse(f"https://{ASSET_HOST}{path}?{query}", status_code=302)


def _asset_bytes(state: SandboxState, request: Request) -> Response:
    if "authorization" in request.headers:
        return _refused("InvalidAuthenticationInfo", 400)  # somebody sent GitHub's token to another host
    at = request.path_params
    ends_at, path = state.part(_Feed).links.get(request.query_params.get("sig", ""), (0.0, ""))
    own = path == f"/github-production-release-asset/{at['repo']}/{at['asset']}"
    if not own or ends_at <= state.clock() or request.method == "HEAD" or state.faults.hit("feed.link_expired"):
        return _refused("AuthenticationFailed", 403)
    repository = next(one for one in repositories().values() if one.id == at["repo"])
    asset = next(asset for release in repository.releases for asset in release.assets if asset.id == at["asset"])
    held = _bent(state, asset.archive)
    struck = state.faults.hit
    if asset.is_checksum:
        return FileAnswer(state, _checksum_text(state, held), request.headers.get("range"))
    return FileAnswer(
        state,
        archive(held),
        request.headers.get("range"),
        headers={"etag": f'"{asset.id:x}"', "content-disposition": f"attachment; filename={asset.name}"},
        ranges=not struck("feed.range_off"),
        cut_share=0.4 if struck("feed.cut_body") else None,
        slow=struck("feed.slow"),
        stall="feed.stall" if state.faults.active("feed.stall") else None,
    )


def _refused(code: str, status: int) -> Response:
    return Response(f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>', status, media_type="application/xml")

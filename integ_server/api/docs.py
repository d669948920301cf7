"""`/docs`: the API's description as a plain page, without scripts or anything from elsewhere, so that it is there offline too."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}"
    "code{font-family:ui-monospace,monospace}h3{margin:1.5rem 0 .25rem;overflow-wrap:anywhere}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}"
)
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; frame-ancestors 'none'"
)


@router.get("/docs")
async def docs(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "docs_page"):
        state.docs_page = _page(request.app)
    page: str = state.docs_page
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"})


def _page(app: Any) -> str:
    described = app.openapi()
    by_tag: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["more"])[0]
            by_tag.setdefault(tag, []).append(_operation(method.upper(), path, operation))
    sections = "".join(f"<section><h2>{escape(tag)}</h2>{''.join(parts)}</section>" for tag, parts in by_tag.items())
    title = escape(described["info"]["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}: the API</title><style>{_STYLE}</style></head><body><main><h1>{title}: the API</h1>"
        '<p>Answers are <code>{"status":"ok","data":…}</code>, failures '
        '<code>{"status":"error","error":…,"message":…,"hint":…}</code>. '
        f'For programs: <a href="/openapi.json">/openapi.json</a>.</p>{_tokens(described)}{sections}</main></body></html>'
    )


def _tokens(described: dict[str, Any]) -> str:
    """What a bearer token may be; nothing where nobody signs in."""
    schemes = described.get("components", {}).get("securitySchemes", {})
    rows = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{escape(each['description'])}</td></tr>" for name, each in schemes.items())
    example = "<p><code>curl -H &quot;Authorization: Bearer $INTEG_TOKEN&quot; …/games</code></p>"
    return f"<section><h2>bearer tokens</h2>{example}<table>{rows}</table></section>" if rows else ""


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    told = escape(operation.get("description") or operation.get("summary") or "")
    asked = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}{', required' if each.get('required') else ''}</td>"
        f"<td>{escape(_kind(each.get('schema', {})))}</td></tr>"
        for each in operation.get("parameters", [])
    )
    body = operation.get("requestBody", {}).get("content", {})
    taken = [f"{scheme} {', '.join(scopes)}".strip() for each in operation.get("security", []) for scheme, scopes in each.items()]
    kinds = ", ".join(f"{kind}: {_kind(content.get('schema', {}))}" for kind, content in body.items())
    return (
        f"<h3><code>{escape(method)} {escape(path)}</code></h3><p>{told}</p>"
        + (f"<table><thead><tr><th>name</th><th>in</th><th>kind</th></tr></thead><tbody>{asked}</tbody></table>" if asked else "")
        + (f"<p>body: <code>{escape(kinds)}</code></p>" if kinds else "")
        + (f"<p>bearer token: <code>{escape(' or '.join(taken))}</code></p>" if taken else "")
    )


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a word: its type, its name, or those it may be."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))

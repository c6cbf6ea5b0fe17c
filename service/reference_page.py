"""The page at ``/docs``: the OpenAPI document as plain HTML, without scripts and without other hosts."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import Any, Final

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 0.9em ui-monospace, monospace; } section { border-top: 1px solid #bbb; padding: 0.5rem 0; }
.verb { font-weight: 700; } td, th { text-align: left; padding: 0 1rem 0 0; vertical-align: top; }
"""

STYLE_HASH: Final = f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
"""For a content security policy: this style and no other."""


def render_reference(document: dict[str, Any]) -> str:
    """A page that lists every route with its parameters and answers."""
    info = document["info"]
    routes = [
        _render_route(path, verb, route)
        for path, verbs in document["paths"].items()
        for verb, route in verbs.items()
    ]
    title = html.escape(f"{info['title']} {info['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{html.escape(info.get('description', ''))}</p>"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>' + "".join(routes) + "</html>"
    )


def _render_route(path: str, verb: str, route: dict[str, Any]) -> str:
    description = route.get("description", "")
    parts = [
        f'<section><h2><span class="verb">{verb.upper()}</span> <code>{html.escape(path)}</code></h2>',
        f"<p><b>{html.escape(route.get('summary', ''))}.</b> {html.escape(description)}</p>",
    ]
    parameters = [
        (f"{one['name']} ({one['in']})", one.get("description", "")) for one in route.get("parameters", [])
    ]
    bodies = [(kind, "") for kind in route.get("requestBody", {}).get("content", {})]
    answers = [
        (status, f"{answer.get('description', '')} {', '.join(answer.get('content', {}))}")
        for status, answer in route.get("responses", {}).items()
    ]
    scopes = sorted(
        {scope for scheme in route.get("security", []) for one in scheme.values() for scope in one}
    )
    if scopes:
        parts.append(f"<p>Needs a key with the scope {html.escape(', '.join(scopes))}.</p>")
    parts += [
        _render_table("Parameters", parameters),
        _render_table("Bodies", bodies),
        _render_table("Answers", answers),
    ]
    return "".join(parts) + "</section>"


def _render_table(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = [f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(text)}" for name, text in rows]
    return f"<table><tr><th>{title}<th>{''.join(lines)}</table>"

"""The requests that the page of `audiocls demo` accepts, and from whom.

This is a layer around gradio's application, which itself accepts much more. A request must come
from a page of this machine, ask what the page needs, and name no file but an upload of this page.
gradio checks the last for what `launch` serves, but not for a mounted page such as ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from audiocls.data.listing.on_disk import is_inside

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
# An upload of more bytes is refused while it arrives.
LARGEST_UPLOAD = 1 << 30
# The page sends a path and a few numbers.
_LARGEST_CALL = 1 << 20

_CALL = "/gradio_api/queue/join"
_FILE = "/gradio_api/file="
_POSTED = (_CALL, "/gradio_api/upload", "/gradio_api/cancel", "/gradio_api/reset")
_READ = re.compile(
    r"/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt|(static|assets|svelte)/.*"
    r"|gradio_api/(app_id|info|startup-events|theme\.css|upload_progress|queue/data"
    r"|(heartbeat|custom_component)/.*))?/?"
)


class OwnPages:
    """Refuses with 403 what the page itself does not ask.

    Args:
        app: gradio's application.
        uploads: gradio's folder of uploads.
    """

    def __init__(self, app: ASGIApp, uploads: str) -> None:
        self.app, self.uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None
        why = "" if _is_own(dict(scope["headers"])) else "not from this machine"
        method, path = scope["method"], scope["path"]
        if not why and not self._may_ask(method, path):
            why = "not a request of this page"
        if not why and (method, path.rstrip("/")) == ("POST", _CALL):
            body = await _body(receive)
            why = self._refusal(body)
            receive = _again(body, receive)
        if not why:
            return await self.app(scope, receive, send)
        await send({"type": "http.response.start", "status": 403, "headers": []})
        return await send({"type": "http.response.body", "body": why.encode()})

    def _may_ask(self, method: str, path: str) -> bool:
        if method == "POST":
            return path.rstrip("/") in _POSTED
        if method not in ("GET", "HEAD"):
            return False
        if path.startswith(_FILE):
            return is_inside(path.removeprefix(_FILE), self.uploads)
        return _READ.fullmatch(path) is not None

    def _refusal(self, body: bytes | None) -> str:
        """Why a call is not passed on; "" if it is."""
        if body is None:
            return f"a call has at most {_LARGEST_CALL} bytes"
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return "a call must be JSON"
        for name in _file_names(document):
            if not isinstance(name, str) or not is_inside(name, self.uploads):
                return "only what was uploaded here can be heard"
        return ""


def _is_own(headers: dict[bytes, bytes]) -> bool:
    """Whether a request comes from a page of this machine.

    It must not come by a name that leads here (DNS rebinding), nor from a form or script elsewhere.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin", f"http://{host}".encode("latin-1")).decode("latin-1")
    return host.rpartition(":")[0] in _NAMES and origin == f"http://{host}"


def _file_names(document: Any) -> Iterator[Any]:
    """What stands under `path` anywhere in it: there gradio looks for files, and for URLs."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("path") is not None:
                yield part["path"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too long."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_CALL:
            return None
        if not message.get("more_body"):
            return body


def _again(body: bytes | None, receive: Receive) -> Receive:
    """The body once more, then what else comes."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body or b"", "more_body": False}

    return replay

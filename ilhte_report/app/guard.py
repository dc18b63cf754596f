"""The guard of the page: which requests are allowed, how much may be sent, and what a browser may do with the response."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded from another host or sent to one, whatever the names in a table contain."""
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)


class _TooMuch(Exception):
    pass


class Guard:
    """An ASGI application protected by a token in the address.

    Requests for another host name (from a foreign page whose name was made to resolve to this machine) are refused, as are
    requests without the token, which is the first part of the path, and requests above the size limit.

    Attributes
    ----------
    app : the application, which sees paths below the token.
    token : the secret part of the address.
    most : size limit of a request, bytes.
    """

    def __init__(self, app: ASGIApp, token: str, most: int) -> None:
        self.app, self.token, self.most = app, token, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["path"] == "/favicon.ico":
            # every browser asks for this, without the token
            await _refuse(scope, send, 204, "")
            return
        if not self._is_allowed(scope, headers):
            await _refuse(scope, send, 404, "There is nothing here: open the address that ilhte app printed.")
            return
        if _announced(headers) > self.most:
            await _refuse(scope, send, 413, f"The file has more than {self.most // 2**20} MB: give its path instead.")
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.most:
                    raise _TooMuch
            return message

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            await self.app(scope, counted, secured)
        except _TooMuch:
            await _refuse(scope, send, 413, f"The file has more than {self.most // 2**20} MB: give its path instead.")

    def _is_allowed(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
        origin = headers.get(b"origin", b"").decode("latin-1").partition("://")[2].rsplit(":", 1)[0]
        return host in LOCAL and origin in ("", *LOCAL) and scope["path"].startswith(f"/{self.token}/")


def _announced(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


async def _refuse(scope: Scope, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})

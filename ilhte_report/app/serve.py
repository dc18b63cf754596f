"""The server of ``ilhte app``: on the loopback interface only, with a token in its address, until it is interrupted."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable
from contextlib import closing

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from ilhte_lib.errors import InputError

from .guard import Guard

LOOPBACK = "127.0.0.1"
_MEGABYTE = 2**20


def application(page: ASGIApp, token: str, most_megabytes: int) -> ASGIApp:
    """The page, and plotly.js beside it, behind the guard."""
    from plotly.offline import get_plotlyjs

    script = get_plotlyjs().encode()

    async def plotly(request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    inner = Starlette(routes=[Route(f"/{token}/plotly.min.js", plotly), Mount(f"/{token}", app=page)])
    return Guard(inner, token, most_megabytes * _MEGABYTE)


def serve(page: ASGIApp, port: int, most_megabytes: int, *, opens: bool, say: Callable[[str], None]) -> None:
    """Serve a page until interrupted; ``say`` is called with the address.

    Raises
    ------
    InputError : the port is not available.
    """
    token = secrets.token_urlsafe(24)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise InputError(
                f"Port {port} is not available ({error.strerror}): leave out --port, or name another."
            ) from None
        address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/{token}/"
        config = uvicorn.Config(
            application(page, token, most_megabytes), log_level="warning", access_log=False, timeout_graceful_shutdown=2
        )
        server = _Server(config)
        server.ready = lambda: (say(address), webbrowser.open(address) if opens else None)
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    ready: Callable[[], object]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

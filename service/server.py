"""The HTTP server: uvicorn's, which lets go of those who listen to ``/events`` when it stops."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn

from service.app import create_app
from service.connections import limited_connections
from service.runtime import Runtime

_MOST_HEAD_BYTES: Final = 32 * 1024
"""Of a request; a longer one is refused."""


class Server(uvicorn.Server):
    """Serves a runtime. Without this a stop would wait for streams that have no end of their own."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        shutdown_grace_seconds: int | None = None,
    ) -> None:
        settings = runtime.settings
        config = uvicorn.Config(
            create_app(runtime),
            host=host,
            port=port,
            log_config=None,
            access_log=settings.access_log,
            http=limited_connections(settings.receive_timeout_seconds, settings.max_connections),
            ws="none",
            server_header=False,
            forwarded_allow_ips=list(settings.trusted_proxies),
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
            timeout_graceful_shutdown=shutdown_grace_seconds,
        )
        super().__init__(config)
        self._publications = runtime.publications

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then as uvicorn does."""
        self._publications.close()
        await super().shutdown(sockets)

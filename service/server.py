"""The HTTP server: uvicorn's, which lets go of those who listen to ``/events`` when it stops."""

from __future__ import annotations

import socket

import uvicorn

from service.app import create_app
from service.runtime import Runtime


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
        config = uvicorn.Config(
            create_app(runtime),
            host=host,
            port=port,
            log_config=None,
            access_log=runtime.settings.access_log,
            timeout_graceful_shutdown=shutdown_grace_seconds,
        )
        super().__init__(config)
        self._publications = runtime.publications

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then as uvicorn does."""
        self._publications.close()
        await super().shutdown(sockets)

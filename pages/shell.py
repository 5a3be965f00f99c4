"""The page around the tabs, and the web application around the page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any, cast

import anyio
import gradio as gr
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.engine import Engine
from backend.engine.background import Trainings
from backend.errors import AudioError
from backend.settings import Settings, __version__
from pages import PAGES
from pages.exports import Exports
from pages.jobs import Jobs
from pages.parts import Desk, html
from pages.theme import INK, theme

STATIC = Path(__file__).parent / "static"
SUMMARY = "Neural networks that make music on your own machine: describe it, hear it, keep it."
HEAD = f"""<meta name="description" content="{SUMMARY}"><meta name="theme-color" content="{INK}">
<meta name="nm-tabs" content="{escape(json.dumps({page.id: page.title for page in PAGES}))}">
<link rel="icon" type="image/svg+xml" href="neuromuse/logo.svg">
<link rel="stylesheet" href="neuromuse/neuromuse.css?{__version__}">
<script type="module" src="neuromuse/words.js?{__version__}"></script>
<script type="module" src="neuromuse/player.js?{__version__}"></script>
<script type="module" src="neuromuse/roll.js?{__version__}"></script>
<script type="module" src="neuromuse/road.js?{__version__}"></script>
<script type="module" src="neuromuse/neuron_stage.js?{__version__}"></script>
<script type="module" src="neuromuse/ab_player.js?{__version__}"></script>
<script type="module" src="neuromuse/course.js?{__version__}"></script>
<script type="module" src="neuromuse/send_to.js?{__version__}"></script>
<script type="module" src="neuromuse/shell.js?{__version__}"></script>"""

# Gradio's own page needs inline scripts and compiles event handlers with `new Function`; nothing else may run or load.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob: data:; font-src 'self' data:; connect-src 'self' blob: data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self' https://huggingface.co"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=()",
}


class SecurityHeaders:
    """Adds the headers above. Plain ASGI: a wrapping middleware would hide closed connections from gradio."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, headers added to every response."""

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [pair for pair in message.get("headers", []) if pair[0].lower() not in HEADERS]
                message["headers"] = given + list(HEADERS.items())
            await send(message)

        await self.app(scope, receive, add_headers if scope["type"] == "http" else send)


def build_blocks(desk: Desk) -> gr.Blocks:
    """All tabs on one page, with deep links and the end of a session wired."""
    with gr.Blocks(title="Neuromuse", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as blocks:
        html((STATIC / "header.html").read_text(encoding="utf-8"), elem_id="nm-header")
        with gr.Tabs(elem_id="nm-tabs") as tabs:
            for page in desk.pages:
                with gr.Tab(page.title, id=page.id, elem_id=f"tab-{page.id}"):
                    page.build(desk)
        html(f'<footer class="nm-footer">Neuromuse {__version__} · Apache-2.0 · runs here, sends nothing away</footer>')

        def choose(request: gr.Request) -> Any:
            wanted = str(request.query_params.get("tab", ""))
            if wanted in {page.id for page in desk.pages[1:]}:
                return gr.Tabs(selected=wanted)
            return gr.skip()  # the first is open, or by now, if this comes late, what the visitor opened instead

        def leave(request: gr.Request) -> None:
            session = str(request.session_hash)
            desk.jobs.close(session)
            desk.exports.close(session)

        blocks.load(choose, None, tabs, queue=False, show_progress="hidden", api_visibility="private")
        blocks.unload(leave)
    blocks.queue(max_size=4 * desk.settings.queue_size + 64, api_open=False)
    blocks.max_threads = desk.settings.queue_size + 60  # a waiting job holds a thread; Stop must still find one
    blocks.limiter = anyio.CapacityLimiter(blocks.max_threads)
    return cast(gr.Blocks, blocks)


def create_app(engine: Engine, settings: Settings) -> FastAPI:
    """The whole web application: page, files, health."""
    exports, trainings = Exports(), Trainings(settings)
    desk = Desk(Jobs(engine), exports, settings, PAGES, trainings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        trainings.keep_swept()
        try:
            yield
        finally:
            exports.clear()
            trainings.shutdown()

    app = FastAPI(
        title="Neuromuse", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.add_middleware(SecurityHeaders)

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        health = dict(engine.health())
        return JSONResponse(health, status_code=200 if health.get("live") else 503)

    @app.get("/exports/{token}/{clip}.{file_format}")
    def export(token: str, clip: int, file_format: str) -> FileResponse:
        try:
            path = exports.path(token, clip, file_format)
        except AudioError as error:
            raise HTTPException(507, str(error)) from error
        if path is None:
            raise HTTPException(404, "This file is no longer kept; make it again with its seed.")
        return FileResponse(path)

    @app.get("/trainings/{token}/{name}")
    def trained(token: str, name: str) -> FileResponse:
        path = trainings.file(token, name)
        if path is None:
            raise HTTPException(404, "This training is no longer kept.")
        return FileResponse(path)

    app.mount("/neuromuse", StaticFiles(directory=STATIC), name="neuromuse")
    mounted: FastAPI = gr.mount_gradio_app(
        app, build_blocks(desk), path="/", footer_links=[], run_history=False, ssr_mode=False, pwa=False,
        mcp_server=False, enable_monitoring=False, max_file_size=settings.max_upload_mb * 1_000_000, show_error=False,
        theme=theme(), head=HEAD, favicon_path=str(STATIC / "logo.svg"),
    )  # fmt: skip
    return mounted

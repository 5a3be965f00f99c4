"""Neuromuse: settings → engine → pages → launch."""

from __future__ import annotations

import logging
import sys

from backend.errors import NeuromuseError
from backend.settings import Settings, check_port

WARM = "text_to_music"  # read while the first visitor looks around


def main() -> None:
    """Serve until interrupted; exit with one sentence and status 1 when that cannot be."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings.from_env()
        check_port(settings.host, settings.port)  # before the seconds that the page takes to import
        serve(settings)
    except NeuromuseError as error:
        sys.exit(f"Neuromuse did not start. {error}")


def serve(settings: Settings) -> None:
    """Build engine and pages, and listen until interrupted."""
    import uvicorn

    from backend.checkpoints import CheckpointStore
    from backend.engine.local import LocalEngine
    from backend.registry import Registry
    from pages.shell import create_app  # seconds of gradio: before the engine's thread starts reading torch

    engine = LocalEngine(Registry(), CheckpointStore(extra=settings.checkpoint_dirs), settings)
    try:
        app = create_app(engine, settings)
        engine.preload(WARM)
        uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=5)
    finally:
        engine.shutdown()


if __name__ == "__main__":
    main()

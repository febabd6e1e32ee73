"""Serves the page, to this machine alone unless another address is asked for, and asks nothing of the network."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Sequence

from pseudo_gumbel.web.answers import NamedModel
from sa2va_native.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LARGEST_FILE = "200mb"


def require_gradio() -> None:
    """Settles what Gradio reads from the environment when it is imported, and imports it.

    Raises:
        ConfigError: it is not installed.
    """
    warnings.filterwarnings("ignore", module="gradio")  # on names that its own dependencies will drop
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Gradio asks its own server whether it is there; a proxy could not reach it.
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [spared, *LOOPBACK[:2]]))
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the page needs Gradio, which cannot be imported ({error}). Run: pip install --no-deps -r "
            "requirements/web.txt in a checkout, or: pip install 'pseudo-gumbel[web]'"
        ) from error


def serve(models: Sequence[NamedModel], host: str, port: int) -> None:
    """Serves the page until the process is interrupted.

    Args:
        models: that answer, see :func:`pseudo_gumbel.web.page.build`.
        host: address to listen on.
        port: to listen on.

    Raises:
        ConfigError: Gradio is not installed, or the address cannot be used.
    """
    require_gradio()
    from pseudo_gumbel.web.page import build, css, theme

    if host not in LOOPBACK:
        print(f"whoever can reach {host} can use the model and upload files", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="pseudo_gumbel_web_") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build(models)
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=False,
                ssr_mode=False,
                enable_monitoring=False,
                footer_links=[],
                max_file_size=LARGEST_FILE,
                quiet=True,
                prevent_thread_lock=True,
                theme=theme(),
                css=css(),
            )
        except OSError as error:
            raise ConfigError(f"--host {host} --port {port} cannot be used ({error}). Choose another port.") from error
        print(f"open {page.local_url} in a browser; Ctrl-C ends it", flush=True)
        page.block_thread()

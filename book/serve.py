"""Serve the built book on this machine: `python book/serve.py _build/html [--port 8000]`."""

import argparse
import errno
import functools
import gzip
import io
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PORTS_TRIED = 20  # a busy port is passed over for the next


class SiteHandler(SimpleHTTPRequestHandler):
    """Files of one folder, below a prefix, with the types that scripts and WebAssembly need."""

    extensions_map = {  # noqa: RUF012 - the base class's own attribute
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
        ".safetensors": "application/octet-stream",
        ".woff2": "font/woff2",
        ".svg": "image/svg+xml",
    }

    def __init__(self, *args: object, prefix: str = "/", **kwargs: object) -> None:
        self.prefix = prefix
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        """Map a URL to a file; what lies outside the prefix does not exist."""
        if not path.startswith(self.prefix):
            return str(Path(self.directory) / "no such file")
        return super().translate_path("/" + path.removeprefix(self.prefix))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Where there is nothing, show the site's own page for that, as its hosts do."""
        page = Path(self.directory) / "404.html"
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(code, message)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Keep the browser from showing yesterday's build."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


@functools.cache
def _packed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), 6)


class CompressingHandler(SiteHandler):
    """As `SiteHandler`, but compresses what it sends, as hosts of static sites do."""

    def send_head(self) -> Any:
        """Send a file's headers; return what is to follow them."""
        file = Path(self.translate_path(urlsplit(self.path).path))
        if not file.is_file():
            return super().send_head()
        body = _packed(file)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(file))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)


class SiteServer(ThreadingHTTPServer):
    """A server that takes it in silence when a browser hangs up early."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Report any error but a lost connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def make_server(folder: Path, *, prefix: str = "/", port: int = 0) -> SiteServer:
    """Return a server of `folder` on loopback, below `prefix`; port 0 takes any free one."""
    handler = functools.partial(SiteHandler, directory=str(folder), prefix=prefix)
    return SiteServer(("127.0.0.1", port), handler)


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000, help="the first port to try")
    arguments = parser.parse_args()
    for port in range(arguments.port, arguments.port + PORTS_TRIED):
        try:
            server = make_server(arguments.folder, port=port)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    else:
        last = arguments.port + PORTS_TRIED - 1
        print(f"No free port from {arguments.port} to {last}.", file=sys.stderr)
        return 1
    print(f"\n    The book is at  http://127.0.0.1:{port}/\n\n    Ctrl-C stops it.\n", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

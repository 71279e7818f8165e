"""Show a report on this machine alone: one page, one address, nothing else of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from worldline.errors import UsageError

__all__ = ["serving"]

LOOPBACK = "127.0.0.1"
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@contextmanager
def serving(page: str, *, port: int = 0) -> Iterator[str]:
    """Serve a page on the loopback address until the block ends; gives the address.

    Requests that name another host are refused, so that no foreign name can be pointed at this
    machine to read the page.

    Args:
        page: the whole page.
        port: 0 for any free one.

    Raises:
        UsageError: the port is taken or not allowed.

    >>> from urllib.request import urlopen
    >>> from worldline.report import serving
    >>> with serving("<p>hello</p>") as address:
    ...     urlopen(address).read()
    b'<p>hello</p>'
    """
    content = page.encode()

    class Handler(BaseHTTPRequestHandler):
        """Knows one page."""

        def do_GET(self) -> None:
            """The page, or why not; asked for the head alone, without the page."""
            own = {f"{LOOPBACK}:{server.server_port}", f"localhost:{server.server_port}"}
            if self.headers.get("Host") not in own:
                self.send_error(403, "This page is for this machine only")
            elif self.path not in ("/", "/report.html"):
                self.send_error(404)
            else:
                self.send_response(200)
                for name, value in {**HEADERS, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815  # the name is the library's

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name is the library's
            """Keep quiet."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--port {port} cannot be used: {error}. Leave it out for any free port."
        ) from error
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

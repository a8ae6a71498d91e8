"""A small web server that plays the site behind the demo shield."""

import argparse
import html
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Demo origin</title></head>
<body><h1>Hello from the origin</h1><p>This page came through the shield: <code>{path}</code></p>
<p>Visitor address, as the shield tells it: <code>{client}</code></p></body></html>
"""


class Handler(BaseHTTPRequestHandler):
    """Answers every GET, HEAD and POST with the same page."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        client = self.headers.get("X-Forwarded-For", "unknown")
        body = PAGE.format(path=html.escape(self.path), client=html.escape(client)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        """Read the body and answer."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: the shield counts."""


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    ThreadingHTTPServer.request_queue_size = 1024
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler).serve_forever()


if __name__ == "__main__":
    main()

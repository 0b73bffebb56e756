"""An admin port that says what a test wants it to say."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread


class AdminPort:
    """A server that says this at `/status`, and 404 elsewhere."""

    def __init__(self, body: bytes, port: int = 0) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.requestline.split()[1]  # `path` is that without some slashes
                self.send_response(200 if asked == "/status" else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

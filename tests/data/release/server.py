"""A small web application on the socket that systemd passes on. It ends what it is doing before it ends itself."""

import http.server
import os
import signal
import socket
import socketserver
import threading
import time

VERSION = "VERSION-OF-THE-RELEASE"
HEALTH = 200


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.02)
        self.send_response(HEALTH if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(f"{VERSION} {os.environ.get('GREETING', '')}\n".encode())

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False

    def __init__(self):
        socketserver.BaseServer.__init__(self, ("release", 0), Answer)
        self.socket = socket.socket(fileno=3)

    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)


server = Server()
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"serving {VERSION}", flush=True)
server.serve_forever(poll_interval=0.05)
server.server_close()

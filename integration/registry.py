"""A registry that only gives: images made here, under the names that others have for them."""
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Registry:
    """Serves on a loopback port of its own until the lane ends; one that hosts are to be mirrored by."""

    def __init__(self):
        self.manifests, self.blobs = {}, {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(*registry.find(self.path.partition("?")[0]))

            do_HEAD = do_GET

            def answer(self, status, headers, data):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": len(data)}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, repository, tag, image):
        """`image` is a descriptor of a manifest and blobs, from image.oci_image."""
        descriptor, blobs = image
        self.blobs.update(blobs)
        for reference in (tag, descriptor["digest"]):
            self.manifests[repository, reference] = descriptor

    def find(self, path):
        if path == "/v2/":
            return 200, {}, b"{}"
        named = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path)
        if named:
            repository, kind, reference = named.groups()
            found = self.manifests.get((repository, reference)) if kind == "manifests" else {"digest": reference, "mediaType": "application/octet-stream"}
            if found and found["digest"] in self.blobs:
                return 200, {"Content-Type": found["mediaType"], "Docker-Content-Digest": found["digest"]}, self.blobs[found["digest"]]
        return 404, {"Content-Type": "application/json"}, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": path}]}).encode()

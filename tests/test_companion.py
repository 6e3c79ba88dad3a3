"""What the book asks of Sphinx holds on a busy machine too."""

import sys
from types import SimpleNamespace

import pytest
from sphinxcontrib import katex

from book._ext.companion import use_installed_katex

# As katex-server.js, but for the half second between having its socket and listening to it.
_SLOW = """
import socket, sys, time
kind, at = sys.argv[1:]
server = socket.socket(socket.AF_UNIX if kind == "--socket" else socket.AF_INET)
server.bind(at if kind == "--socket" else ("127.0.0.1", int(at)))
time.sleep(0.5)
server.listen()
server.accept()[0].sendall(b"here")
"""


@pytest.fixture
def slow_katex(monkeypatch):
    """The server of formulas is a slow one; what the book changes of the extension is undone afterwards."""
    for owner, name in (
        (katex, "STARTUP_TIMEOUT"),
        (katex, "RENDER_TIMEOUT"),
        (katex.KaTeXServer, "start_server_process"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))

    def build_command(socket=None, port=None):
        where = ["--socket", str(socket)] if socket is not None else ["--port", str(port)]
        return [sys.executable, "-c", _SLOW, *where]

    monkeypatch.setattr(katex.KaTeXServer, "build_command", build_command)


@pytest.mark.usefixtures("slow_katex")
# The extension leaves it to Python to close the sockets of its attempts.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_formulas_are_set_though_their_server_is_slow_to_listen(tmp_path):
    use_installed_katex(SimpleNamespace(srcdir=tmp_path), SimpleNamespace())
    process, socket = katex.KaTeXServer.start_server_process(tmp_path, 10.0)
    with process, socket:
        assert socket.recv(4) == b"here"

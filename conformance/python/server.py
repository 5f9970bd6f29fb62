"""Starts c2m-server on a port of its own choosing and stops it by closing its stdin."""

import json
import os
import subprocess
import unittest


class Server:
    def __init__(self, *flags):
        command = [os.environ["C2M_SERVER"], "--stdio", *flags]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def url(self, vsn):
        return f"ws://{self.address}/socket/websocket?vsn={vsn}"

    def stop(self):
        self.process.communicate()
        return self.process.returncode


class WithServer(unittest.TestCase):
    """Tests that share one server."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, "the server drains and exits 0 when stdin closes"

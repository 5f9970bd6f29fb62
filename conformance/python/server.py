"""Starts c2m-server on a port of its own choosing and stops it by closing its stdin."""

import json
import os
import subprocess


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

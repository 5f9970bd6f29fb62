"""Channel messages by hand over websockets, a WebSocket library of other authors, which offers compression and pings."""

import asyncio
import json
import unittest

import websockets
from server import WithServer

DEADLINE_S = 30


class Websockets(WithServer, unittest.IsolatedAsyncioTestCase):
    async def ask(self, socket, message, answers):
        await socket.send(json.dumps(message))
        for answer in answers:
            text = await asyncio.wait_for(socket.recv(), DEADLINE_S)
            self.assertEqual(json.loads(text), answer)

    async def test_version_2(self):
        """Protocol points 15, 21 and 57: no extension is agreed to, integers stay integers, pings are answered."""
        async with websockets.connect(self.server.url("2.0.0"), ping_interval=0.1) as socket:
            self.assertNotIn("Sec-WebSocket-Extensions", socket.response.headers)
            ok = {"response": {}, "status": "ok"}
            await self.ask(socket, [0, 0, "rooms:lobby", "phx_join", {}], [[0, 0, "rooms:lobby", "phx_reply", ok]])
            message = {"user": "ann", "body": "grüße"}
            await self.ask(
                socket,
                [0, 7, "rooms:lobby", "new:msg", message],
                [
                    [None, None, "rooms:lobby", "new:msg", message],
                    [0, 7, "rooms:lobby", "phx_reply", {"response": {"msg": "grüße"}, "status": "ok"}],
                ],
            )
            await asyncio.wait_for(await socket.ping(), DEADLINE_S)

    async def test_version_1(self):
        async with websockets.connect(self.server.url("1.0.0")) as socket:
            join = {"topic": "rooms:lobby", "event": "phx_join", "payload": {}, "ref": 0}
            reply = {"topic": "rooms:lobby", "event": "phx_reply", "payload": {"response": {}, "status": "ok"}, "ref": 0}
            await self.ask(socket, join, [reply])

    async def test_a_wrong_version_is_refused(self):
        with self.assertRaises(websockets.exceptions.InvalidStatus) as refused:
            await websockets.connect(self.server.url("3.0.0"))
        self.assertEqual(refused.exception.response.status_code, 403)

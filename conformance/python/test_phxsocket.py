"""phxsocket, a client of version 1.0.0 whose refs are integers from 0."""

import queue

from phxsocket import Client
from phxsocket.channel import ChannelConnectError
from server import WithServer

DEADLINE_S = 30


class Phxsocket(WithServer):
    def connect(self):
        client = Client(self.server.url("1.0.0").partition("?")[0])
        self.assertTrue(client.connect())
        self.addCleanup(client.close)
        return client

    def test_two_clients_exchange_messages(self):
        """Protocol point 21: refs keep their type, 0 included."""
        heard = queue.Queue()
        ann, ben = (self.connect().channel("rooms:lobby") for _ in range(2))
        self.assertEqual((ann.join(), ben.join()), ({}, {}))
        ben.on("new:msg", heard.put)
        message = {"user": "ann", "body": "hello"}
        reply = ann.push("new:msg", message, reply=True).wait_for_response()
        self.assertEqual(reply, {"status": "ok", "response": {"msg": "hello"}})
        self.assertEqual(heard.get(timeout=DEADLINE_S), message)

    def test_a_refused_join_is_an_error(self):
        with self.assertRaises(ChannelConnectError):
            self.connect().channel("rooms:secret").join()

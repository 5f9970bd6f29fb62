# CPython 2.7, in the suite's environment: its fuzzing server, on a port of the kernel's choosing, until stdin ends.
#   python fuzzingserver.py REPORT_DIRECTORY EXCLUDED_CASES...    prints the port as its first line
from __future__ import print_function

import os
import socket
import sys

from autobahntestsuite import choosereactor  # must be imported before the reactor
from autobahntestsuite import fuzzing
from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol


class EndOfInput(Protocol):
    def connectionLost(self, reason=None):
        reactor.stop()


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
listener.setblocking(False)
port = listener.getsockname()[1]
# The suite checks the Host header against the port of its URL and listens there itself: it gets the bound socket.
reactor.listenTCP = lambda _port, factory, *_: reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, factory)

# The reader of the first line need not read what the suite says of each case.
told, log = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_WRONLY)
os.dup2(log, 1)
fuzzing.startServer(
    {
        "url": "ws://127.0.0.1:%d" % port,
        "outdir": sys.argv[1],
        "cases": ["*"],
        "exclude-cases": sys.argv[2:],
        "exclude-agent-cases": {},
    },
    None,
)
print(port, file=told)
told.close()
# Standard output is not the protocol's: only the end of the input is of interest.
stdio.StandardIO(EndOfInput(), stdout=log)
reactor.run()

"""An HTTP/3 client that a test drives: one JSON object per line on standard input, one per line as its reply.

Each command names a method of Driver and its arguments: {"command": "request", "connection": 1, ...}. The reply is
{"value": ...}, or {"error": "..."}. Header values and bodies are strings of bytes, U+0000 to U+00FF. The end of
standard input ends the program, and with it all connections. The argument is the time in seconds after which a
command gives up.
"""

import asyncio
import json
import sys

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamReset

TIMEOUT = float(sys.argv[1])


class Stream:
    """A request, and what has come of its response."""

    def __init__(self):
        self.headers = []
        self.body = b""
        self.complete = False
        self.stopped = False
        self.ended = asyncio.Event()

    def end(self, complete):
        if not self.ended.is_set():
            self.complete = complete
            self.ended.set()


class Exchange(H3Connection):
    """HTTP/3 as aioquic has it, but for responses to HEAD: their Content-Length is not that of a body."""

    def __init__(self, quic):
        super().__init__(quic)
        self.without_body = set()

    def _check_content_length(self, stream):
        if stream.stream_id not in self.without_body:
            super()._check_content_length(stream)


class Connection(QuicConnectionProtocol):
    """A QUIC connection with its streams."""

    def __init__(self, quic):
        super().__init__(quic)
        self.h3 = Exchange(quic)
        self.streams = {}
        # When a command returns, all that it says is sent: whatever a test does next comes after it.
        quic._loss._pacer.next_send_time = lambda now: None

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            for stream in self.streams.values():
                stream.end(complete=False)
        elif isinstance(event, StreamReset) and event.stream_id in self.streams:
            self.streams[event.stream_id].end(complete=False)
        elif isinstance(event, StopSendingReceived) and event.stream_id in self.streams:
            self.streams[event.stream_id].stopped = True
        for h3_event in self.h3.handle_event(event):
            self.h3_event_received(h3_event)

    def h3_event_received(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, HeadersReceived) and not stream.headers:
            stream.headers = event.headers
        elif isinstance(event, DataReceived):
            stream.body += event.data
        if getattr(event, "stream_ended", False):
            stream.end(complete=True)

    def vanish(self):
        """Falls silent: not a byte more is sent."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()


class Driver:
    """The commands."""

    def __init__(self):
        self.connections = []

    async def connect(self, address, port, name, ca, certificate, key):
        """Opens a connection to the server of that name; its certificate must be issued by the CA. The client shows
        a certificate unless that is null."""
        configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=name, idle_timeout=600)
        configuration.load_verify_locations(cafile=ca)
        if certificate is not None:
            configuration.load_cert_chain(certificate, key)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_datagram_endpoint(
            lambda: Connection(QuicConnection(configuration=configuration)), local_addr=("127.0.0.1", 0)
        )
        connection.connect((address, port))
        await asyncio.wait_for(connection.wait_connected(), TIMEOUT)
        self.connections.append(connection)
        return len(self.connections) - 1

    async def request(self, connection, headers, body, last):
        """Sends header fields, and a body unless that is null; returns the stream."""
        connection = self.connections[connection]
        number = connection._quic.get_next_available_stream_id()
        connection.streams[number] = Stream()
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if (b":method", b"HEAD") in fields:
            connection.h3.without_body.add(number)
        connection.h3.send_headers(number, fields, end_stream=last and body is None)
        if body is not None:
            connection.h3.send_data(number, body.encode("latin-1"), end_stream=last)
        connection.transmit()
        return number

    async def data(self, connection, stream, body, last):
        """Sends a part of a body, unless the server wants no more of it."""
        connection = self.connections[connection]
        if not connection.streams[stream].stopped:
            connection.h3.send_data(stream, body.encode("latin-1"), end_stream=last)
            connection.transmit()

    async def reset(self, connection, stream, send, receive):
        """Cancels a stream: what we send, what we receive, or both (RFC 9114 section 4.1.1). One that is over stays so."""
        quic = self.connections[connection]._quic
        if stream in quic._streams_finished:
            return
        if send:
            quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        if receive:
            quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.connections[connection].transmit()

    async def ping(self, connection):
        """Returns when the server has taken up what was sent before, which it acknowledges in order."""
        await asyncio.wait_for(self.connections[connection].ping(), TIMEOUT)

    async def response(self, connection, stream):
        """The response on a stream when it has ended, however it did."""
        stream = self.connections[connection].streams[stream]
        await asyncio.wait_for(stream.ended.wait(), TIMEOUT)
        fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in stream.headers]
        return {"headers": fields, "body": stream.body.decode("latin-1"), "complete": stream.complete}

    async def close(self, connection):
        """Closes a connection in order, whatever is in flight (RFC 9000 section 10.2)."""
        self.connections[connection].close(error_code=ErrorCode.H3_NO_ERROR)

    async def vanish(self, connection):
        """Leaves a connection without a word, as a client out of reach does."""
        self.connections[connection].vanish()


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    driver = Driver()
    while line := await lines.readline():
        arguments = json.loads(line)
        command = arguments.pop("command")
        try:
            reply = {"value": await getattr(driver, command)(**arguments)}
        except Exception as error:
            reply = {"error": f"{command}: {type(error).__name__} {error}"}
        print(json.dumps(reply), flush=True)


asyncio.run(main())

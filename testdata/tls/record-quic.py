"""Records HTTP/3 downloads by aioquic (PyPI) in a network namespace of its own: quic-*.pcap.

    python3 record-quic.py FOLDER       # as root; needs aioquic, ip and tcpdump
"""

import asyncio
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated
from aioquic.quic.packet import QuicProtocolVersion as Version

CLIENT, SERVER, NAME = "10.10.1.5", "203.0.113.80", "cdn.rare-tools.example"
SPACE = "tw-quic"


class Server(QuicConnectionProtocol):
    http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for told in self.http.handle_event(event) if self.http else ():
            if isinstance(told, HeadersReceived):
                self.http.send_headers(told.stream_id, [(b":status", b"200")])
                self.http.send_data(told.stream_id, b"#!/bin/sh\necho harmless\n", True)
                self.transmit()


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.done = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        for told in self.http.handle_event(event):
            if isinstance(told, DataReceived) and told.stream_ended and not self.done.done():
                self.done.set_result(told.data)

    async def get(self):
        stream = self._quic.get_next_available_stream_id()
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/i.sh")]
        self.http.send_headers(stream, fields + [(b":authority", NAME.encode())], True)
        self.transmit()
        return await asyncio.wait_for(self.done, 5)


def certificate(folder):
    key, cert = f"{folder}/key.pem", f"{folder}/cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={NAME}"],
                   check=True, capture_output=True)
    return cert, key


async def download(folder, version, retry, alpn):
    there = QuicConfiguration(is_client=False, alpn_protocols=["h3"], supported_versions=[version])
    there.load_cert_chain(*certificate(folder))
    server = await serve(SERVER, 443, configuration=there, create_protocol=Server, retry=retry)
    here = QuicConfiguration(is_client=True, alpn_protocols=alpn, server_name=NAME, verify_mode=False)
    here.original_version = version
    here.supported_versions = [version]
    async with connect(SERVER, 443, configuration=here, create_protocol=Client,
                       local_port=40123) as client:
        assert b"harmless" in await client.get()
    server.close()


RECORDINGS = {
    "quic-v1": (Version.VERSION_1, False, ["h3"]),
    "quic-v2": (Version.VERSION_2, False, ["h3"]),
    "quic-retry": (Version.VERSION_1, True, ["h3"]),
    # A hello too long for one datagram.
    "quic-long-hello": (Version.VERSION_1, False, ["h3"] + [f"h3-{n:04}" for n in range(200)]),
}


def inside(folder):
    for name, (version, retry, alpn) in RECORDINGS.items():
        dump = subprocess.Popen(["tcpdump", "-q", "-U", "-i", "lo", "-w", f"{folder}/{name}.pcap", "udp"],
                                stderr=subprocess.PIPE, text=True)
        dump.stderr.readline()
        time.sleep(0.5)
        with tempfile.TemporaryDirectory() as keys:
            asyncio.run(download(keys, version, retry, alpn))
        time.sleep(0.5)
        dump.send_signal(signal.SIGINT)
        dump.wait()


def main():
    if len(sys.argv) == 3:
        return inside(sys.argv[1])
    run = lambda *words: subprocess.run(words, check=True)
    run("ip", "netns", "add", SPACE)
    try:
        within = ["ip", "netns", "exec", SPACE]
        run(*within, "ip", "link", "set", "lo", "up")
        for address in (CLIENT, SERVER):
            run(*within, "ip", "address", "add", f"{address}/32", "dev", "lo")
        # aioquic's client binds no address: what goes to the server has to leave from the client's.
        run(*within, "ip", "route", "replace", "local", SERVER, "dev", "lo", "src", CLIENT, "table", "local")
        run(*within, sys.executable, __file__, sys.argv[1], "inside")
    finally:
        run("ip", "netns", "delete", SPACE)


main()

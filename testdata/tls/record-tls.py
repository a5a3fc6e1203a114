"""Records conversations of OpenSSL's s_client and s_server in a network namespace of its own: tls*.pcap, and
their key logs, tls*.keys.

    python3 record-tls.py FOLDER       # as root; needs openssl 3, ip and tcpdump
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

CLIENT, SERVER, PORT = "10.10.1.20", "10.10.1.5", "2376"
SPACE = "tw-tls"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
V12, V13 = ["-tls1_2"], ["-tls1_3"]

# Name, arguments of the server, and one conversation with it after the other: arguments of the client, then
# what is said by client (c) and server (s); K and k are their command for a key update, R for a
# renegotiation. SESSION is a file that a session is written to and read from.
SAVE, RESUME = ["-sess_out", "SESSION"], ["-sess_in", "SESSION"]
REQUEST, REPLY = ("c", b"GET /v1.41/info HTTP/1.1\r\nHost: daemon\r\n\r\n"), ("s", ANSWER)
TALK = [REQUEST, REPLY]
CERTIFICATE, EARLY = ["-cert", "CERT", "-key", "KEY"], ["-early_data", "EARLY"]
UPDATES = [step for who, key in ("ck", "sk", "cK", "sK") for step in TALK + [(who, key.encode() + b"\n")]] + TALK
RECORDINGS = {
    "tls12-ticket": ([], [(V12 + SAVE, TALK), (V12 + RESUME, TALK)]),
    "tls12-session-id": (["-no_ticket"], [(V12 + SAVE, TALK), (V12 + RESUME, TALK)]),
    "tls12-client-certificate": (["-verify", "1"], [(V12 + CERTIFICATE, TALK)]),
    "tls12-aes128": ([], [(V12 + ["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], TALK)]),
    "tls12-aes256": ([], [(V12 + ["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], TALK)]),
    "tls12-chacha": ([], [(V12 + ["-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], TALK)]),
    "tls12-renegotiated": (["-client_renegotiation"], [(V12, TALK + [("c", b"R\n")] + TALK)]),
    "tls13-resumed": ([], [(V13 + SAVE, TALK), (V13 + RESUME, TALK)]),
    "tls13-early-data": (["-early_data"], [(V13 + SAVE, TALK), (V13 + RESUME + EARLY, [REPLY] + TALK)]),
    # A ticket is good for one 0-RTT: the second time it is refused.
    "tls13-early-data-refused": (["-early_data"], [(V13 + SAVE, TALK), (V13 + RESUME + EARLY, [REPLY]),
                                                   (V13 + RESUME + EARLY, TALK)]),
    "tls13-hello-retry": (["-groups", "P-384"], [(V13, TALK)]),
    "tls13-key-update": ([], [(V13, UPDATES)]),
    "tls13-client-certificate": (["-verify", "1"], [(V13 + CERTIFICATE, TALK)]),
    "tls13-aes128": ([], [(V13 + ["-ciphersuites", "TLS_AES_128_GCM_SHA256"], TALK)]),
    "tls13-aes256": ([], [(V13 + ["-ciphersuites", "TLS_AES_256_GCM_SHA384"], TALK)]),
    "tls13-chacha": ([], [(V13 + ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], TALK)]),
}


def start(*words):
    return subprocess.Popen(["openssl", *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def serve(files, words):
    server = start("s_server", "-accept", f"{SERVER}:{PORT}", "-cert", files["CERT"], "-key", files["KEY"],
                   "-alpn", "http/1.1", *words)
    time.sleep(0.8)
    return server


def converse(server, files, keys, number, words, steps):
    words = [files.get(word, word) for word in words]
    client = start("s_client", "-connect", f"{SERVER}:{PORT}", "-bind", f"{CLIENT}:{41000 + number}",
                   "-servername", "daemon.example", "-alpn", "http/1.1", "-keylogfile", keys, *words)
    time.sleep(1.2)
    for who, what in steps:
        end = client if who == "c" else server
        end.stdin.write(what)
        end.stdin.flush()
        time.sleep(0.6)
    client.stdin.write(b"Q\n")
    client.stdin.flush()
    client.wait(5)


def record(folder, name, server, conversations):
    with tempfile.TemporaryDirectory() as place:
        files = {word: f"{place}/{word}" for word in ("SESSION", "CERT", "KEY", "EARLY")}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", files["KEY"], "-out", files["CERT"], "-days", "2", "-subj", "/CN=daemon.example"],
                       check=True, capture_output=True)
        with open(files["EARLY"], "wb") as early:
            early.write(REQUEST[1].replace(b"/info", b"/early"))
        dump = subprocess.Popen(["tcpdump", "-q", "-U", "-i", "lo", "-w", f"{folder}/{name}.pcap", "tcp"],
                                stderr=subprocess.PIPE, text=True)
        dump.stderr.readline()
        time.sleep(0.3)
        keys = f"{folder}/{name}.keys"
        if os.path.exists(keys):
            os.remove(keys)
        server = serve(files, server)
        for number, (words, steps) in enumerate(conversations):
            converse(server, files, keys, number, words, steps)
        server.terminate()
        server.wait()
        time.sleep(0.4)
        dump.send_signal(signal.SIGINT)
        dump.wait()


def main():
    if len(sys.argv) == 3:
        for name, (server, conversations) in RECORDINGS.items():
            record(sys.argv[1], name, server, conversations)
        return
    run = lambda *words: subprocess.run(words, check=True)
    run("ip", "netns", "add", SPACE)
    try:
        within = ["ip", "netns", "exec", SPACE]
        run(*within, "ip", "link", "set", "lo", "up")
        for address in (CLIENT, SERVER):
            run(*within, "ip", "address", "add", f"{address}/32", "dev", "lo")
        run(*within, sys.executable, __file__, sys.argv[1], "inside")
    finally:
        run("ip", "netns", "delete", SPACE)


main()

#!/usr/bin/env python3
"""Abuses a running server and measures clients that behave: abuse_server.py http://127.0.0.1:8080 PID [--seconds 120]

200 slow clients hold connections open, others send broken HTTP and JSON, prompts of 10 MB, or leave in the middle of a
stream. Meanwhile two healthy clients stream short answers. PID is the server's process: its memory is watched. Fails
where the server ends, a healthy request fails, or the memory of the last quarter is more than 20 % and 64 MB above that
of the second."""

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import sys
import threading
import time
from urllib.parse import urlparse


class Abuse:
    def __init__(self, address, process, seconds):
        parts = urlparse(address)
        self.host, self.port, self.process = parts.hostname, parts.port, process
        self.end = time.time() + seconds
        self.times, self.failures, self.counts = [], [], {}
        self.lock = threading.Lock()

    def running(self):
        return time.time() < self.end

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def connect(self):
        return socket.create_connection((self.host, self.port), timeout=30)

    def slow(self):
        while self.running():
            try:
                with self.connect() as connection:
                    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n")
                    while self.running():
                        connection.sendall(b"X-A: b\r\n"[:1])
                        time.sleep(random.uniform(0.5, 3))
            except OSError:
                self.count("slow client cut off")
                time.sleep(0.2)

    def malformed(self):
        draw = random.Random(1)
        while self.running():
            kind = draw.randrange(5)
            body = [b'{"prompt": ', b"[" * 50000, b'{"prompt": {"a": 1}}', b"\xff\xfe\x00", b'{"prompt":"a","n":1e99}'][kind]
            head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            data = draw.choice([head + body, draw.randbytes(300), b"GET / HTTP/9.9\r\n\r\n",
                                b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
            try:
                with self.connect() as connection:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(4096)
                    self.count("malformed")
            except OSError:
                self.count("malformed cut off")
            time.sleep(0.01)

    def huge(self):
        body = json.dumps({"prompt": "word and " * (10 << 20 >> 3), "max_tokens": 4})
        while self.running():
            try:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
                connection.request("POST", "/v1/completions", body)
                self.count(f"10 MB prompt: {connection.getresponse().status}")
                connection.close()
            except OSError:
                self.count("10 MB prompt cut off")
            time.sleep(0.5)

    def vanishing(self):
        body = json.dumps({"prompt": "Once", "max_tokens": 500, "stream": True, "temperature": 1})
        while self.running():
            try:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
                connection.request("POST", "/v1/completions", body)
                connection.getresponse().read(10)
                connection.close()
                self.count("vanished")
            except (OSError, http.client.HTTPException):
                self.count("vanishing client refused")
            time.sleep(0.05)

    def healthy(self):
        body = json.dumps({"prompt": "Once", "max_tokens": 8, "stream": True})
        while self.running():
            start = time.time()
            try:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
                connection.request("POST", "/v1/completions", body)
                response = connection.getresponse()
                text = response.read()
                connection.close()
                if response.status != 200 or b"[DONE]" not in text:
                    raise OSError(f"status {response.status}: {text[:200]}")
                with self.lock:
                    self.times.append(time.time() - start)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            time.sleep(0.1)

    def memory(self):
        with open(f"/proc/{self.process}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    def run(self):
        plan = [(self.slow, 200), (self.malformed, 2), (self.huge, 2), (self.vanishing, 4), (self.healthy, 2)]
        threads = [threading.Thread(target=work, daemon=True) for work, count in plan for _ in range(count)]
        for thread in threads:
            thread.start()
        memory = []
        while self.running():
            memory.append(self.memory())
            time.sleep(0.5)
        for thread in threads:
            thread.join(timeout=90)
        os.kill(self.process, 0)
        quarter = len(memory) // 4
        second, last = statistics.median(memory[quarter:2 * quarter]), statistics.median(memory[-quarter:])
        print(f"healthy requests: {len(self.times)} good, {len(self.failures)} failed; seconds: "
              f"median {statistics.median(self.times):.2f}, slowest {max(self.times):.2f}")
        print(f"memory: {second:.0f} MB in the second quarter, {last:.0f} MB in the last, {max(memory):.0f} MB at most")
        print("abuse:", json.dumps(self.counts))
        if self.failures:
            sys.exit(f"healthy requests failed: {self.failures[:3]}")
        if last > 1.2 * second and last > second + 64:
            sys.exit("the memory grows")
        print("all checks passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("process", type=int)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    Abuse(options.address, options.process, options.seconds).run()


if __name__ == "__main__":
    main()

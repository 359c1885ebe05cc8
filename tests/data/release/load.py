"""Asks an application over its socket until a file is gone, and counts the answers, one kind a line."""

import collections
import os
import socket
import sys
import threading

address, flag = sys.argv[1:]
answers = collections.Counter()


def ask():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(address)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer.split(b"\r\n\r\n")[-1].decode().strip() or "nothing"


def work():
    while os.path.exists(flag):
        try:
            answers[ask()] += 1
        except OSError as error:
            answers[f"failed: {error}"] += 1


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for answer, count in answers.items():
    print(count, answer)

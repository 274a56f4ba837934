"""Puts src/chat/templates/floe-nano.jinja into a GGUF as its tokenizer.chat_template; nothing else changes.

    python3 set_template.py ../models/floe-nano.gguf
"""
import os
import struct
import sys

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../src/chat/templates/floe-nano.jinja")
KEY, STRING, ARRAY = b"tokenizer.chat_template", 8, 9
BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, kind):
        value, = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize(kind)
        return value

    def string(self):
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size:self.at]

    def skip_value(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            element, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip_value(element)
        else:
            self.at += BYTES[kind]


def with_template(data, template):
    reader = Reader(data)
    if data[:8] != b"GGUF" + struct.pack("<I", 3):
        raise ValueError("no GGUF of version 3")
    reader.at = 8
    n_tensors, n_keys = reader.number("Q"), reader.number("Q")
    alignment, place = 32, None
    for _ in range(n_keys):
        key, kind, begin = reader.string(), reader.number("I"), reader.at
        reader.skip_value(kind)
        if key == b"general.alignment":
            alignment, = struct.unpack_from("<I", data, begin)
        if key == KEY:
            place = begin, reader.at
    if place is None:
        raise ValueError("no " + KEY.decode())
    for _ in range(n_tensors):
        reader.string()
        n_dims = reader.number("I")
        reader.at += 8 * n_dims + 4 + 8
    head, tensors = data[:reader.at], data[-(-reader.at // alignment) * alignment:]
    head = head[:place[0]] + struct.pack("<Q", len(template)) + template + head[place[1]:]
    return head + b"\0" * (-len(head) % alignment) + tensors


def main():
    path = sys.argv[1]
    with open(path, "rb") as file:
        data = file.read()
    with open(TEMPLATE, "rb") as file:
        data = with_template(data, file.read())
    with open(path, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    main()

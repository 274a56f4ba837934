#!/usr/bin/env python3
"""Renders the public chat templates beside the checkout over generated conversations, with floe and with Python's
Jinja2: every byte must be the same, and what one of them refuses the other must refuse. Text of a conversation
must never count as the template's own.

    tests/template/differential.py PROGRAM [CONVERSATIONS]     PROGRAM: build/release/tests/programs/template_render_lines
"""
import glob
import json
import os
import random
import subprocess
import sys

from conversations import MARK, conversation
from oracle import environment

NOW = 1790000000
TEMPLATES = os.path.join(os.path.dirname(__file__), "..", "..", "..", "shared", "templates")
# Sends a generator through tojson, which Python cannot spell; floe, as llama.cpp whose template it is, can.
PYTHON_REFUSES = {"llama-cpp-deepseek-r1.jinja"}


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    files = sorted(glob.glob(os.path.join(TEMPLATES, "*.jinja")))
    if not files:
        print("skipped: no ../shared/templates beside the checkout")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    renderer = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                encoding="utf-8")
    passed = failed = rendered = refused = 0
    for path in files:
        name = os.path.basename(path)
        with open(path, encoding="utf-8", newline="") as file:
            source = file.read()
        parsed = environment(NOW).from_string(source)
        chance = random.Random(name)
        faults = []
        for _ in range(count):
            variables = conversation(chance)
            try:
                wanted = parsed.render(**json.loads(json.dumps(variables)))
            except Exception as error:
                wanted = None
                reason = repr(error)
            renderer.stdin.write(json.dumps({"template": source, "variables": variables, "now": NOW},
                                            ensure_ascii=False) + "\n")
            renderer.stdin.flush()
            got = json.loads(renderer.stdout.readline())
            if wanted is None:
                refused += 1
                if "error" not in got and name not in PYTHON_REFUSES:
                    faults.append(f"rendered what Python refuses: {reason}")
            elif got.get("text") != wanted:
                faults.append(difference(wanted, got))
            elif MARK in got["author_text"]:
                faults.append("text of the conversation counts as the template's")
            else:
                rendered += 1
        if faults:
            failed += 1
            print(f"{name}: {len(faults)} of {count}, the first: {faults[0]}")
        else:
            passed += 1
    print(f"{rendered} conversations equal, {refused} refused by Python")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def difference(wanted, got):
    if "text" not in got:
        return got["error"]
    text = got["text"]
    at = next((i for i, (a, b) in enumerate(zip(wanted, text)) if a != b), min(len(wanted), len(text)))
    return f"at {at} {wanted[max(0, at - 40):at + 40]!r}, found {text[max(0, at - 40):at + 40]!r}"


if __name__ == "__main__":
    sys.exit(main())

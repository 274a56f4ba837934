"""Renders chat templates with Jinja2 the way the transformers library does: the oracle of the chat tests.

stdin: a JSON list of {template, variables}; stdout: a JSON list of texts.
"""
import json
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
compiled = {}
out = []
for case in json.load(sys.stdin):
    path = case["template"]
    if path not in compiled:
        with open(path, encoding="utf-8") as file:
            compiled[path] = environment.from_string(file.read())
    out.append(compiled[path].render(**case["variables"]))
json.dump(out, sys.stdout)

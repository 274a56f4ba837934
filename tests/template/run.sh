#!/usr/bin/env bash
# The public chat templates beside the checkout, rendered by floe and by Python's Jinja2 over generated conversations.
cd "$(dirname "$0")/../.."
exec python3 tests/template/differential.py build/release/tests/programs/template_render_lines 60

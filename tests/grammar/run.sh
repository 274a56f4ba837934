#!/usr/bin/env bash
# run.sh [COUNT]: answers under COUNT (300) random JSON schemas, judged by python3-jsonschema.
cd "$(dirname "$0")/../.."
exec python3 tests/grammar/judge.py build/release/tests/programs/grammar_walk "${1:-300}"

#!/bin/sh
T="$(dirname "$0")/../.venv/bin/thingpass"; [ -x "$T" ] || T=thingpass; exec "$T" keygen server "$@"

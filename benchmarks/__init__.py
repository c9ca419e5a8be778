"""The benchmark: Thingpass and Mosquitto under the same load, in the same run, in alternating rounds.

`python -m benchmarks --help` says how to run it; docs/performance.md says what is measured and why.
Nothing in here asserts a time: a slow machine gives small numbers, never a failure.
"""

"""Broken servers, each made from one of ours by one change, to measure the contract tester.

`python -m tests.mutants` runs it against all of them; see docs/trust.md.
"""

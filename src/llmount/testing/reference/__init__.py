"""A reference server for tests of clients: scripted answers, faults, and what came of them."""

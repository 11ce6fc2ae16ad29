"""The contract tester: does a server keep its contract, and whose clients does it break?"""

"""Servers on this machine, for the demo, the benchmarks and the tests: processes, ports, Kafka, Valkey."""

# `make bench` and `make bench-full`: the Makefile includes this. PEER=path/to/centrifugo adds the peer.

.PHONY: bench bench-full bench-smoke bench-guard

BENCH = $(BIN)/doorstep bench run $(if $(PEER),--peer $(PEER)) $(ARGS)

bench: setup-dev build/kafka/.fetched ## measure latency, delivery and cost, within ten minutes (PEER=path/to/centrifugo)
	$(BENCH)

bench-full: setup-dev build/kafka/.fetched ## the same with 100,000 connections, storms and repeated runs: 40 minutes
	$(BENCH) --full

bench-smoke: setup-dev build/kafka/.fetched ## every scenario, tiny: checks the benchmark suite itself
	$(BENCH) --smoke

bench-guard: setup-dev build/kafka/.fetched ## fail when a notification costs more than it should, by ratio
	$(BENCH) --guard

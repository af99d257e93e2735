# Millrace: `make help` lists what can be asked for.
MODE ?= release
O := build/$(MODE)
DEPS := build/deps
SHELL := /bin/bash

WORKERS := $(notdir $(patsubst %/,%,$(wildcard workers/*/)))
COMMON := $(wildcard common/*/*.c)
BINS := $(WORKERS:%=$(O)/bin/%) $(O)/bin/millrace
LIB := $(O)/libmillrace.a
TESTS := $(patsubst %.c,$(O)/%,$(wildcard test/unit/test_*.c))
FUZZERS := $(patsubst %.c,$(O)/%,$(wildcard test/fuzz/fuzz_*.c))
BENCHES := $(patsubst %.c,$(O)/%,$(wildcard test/bench/*.c))

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes -Wvla -Wformat=2 \
        -Wimplicit-fallthrough -Wtrampolines -Wbidi-chars=any -Werror
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
          -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing
OPT_release := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(HARDEN)
OPT_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread
# -ffp-contract=off: the same sums on every machine (no fused multiply-add)
CFLAGS := -std=gnu11 $(WARN) $(OPT_$(MODE)) -ffp-contract=off -fPIE -pthread -Icommon -I. \
          -isystem $(DEPS)/include $(EXTRA_CFLAGS)
LDFLAGS := -pie -pthread -Wl,--disable-new-dtags -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed \
           -L$(DEPS)/lib -Wl,-rpath,'$$ORIGIN/../../deps/lib'
LDLIBS := -l:librdkafka.so.1 -lxgboost -lavro -ljansson -lsodium -lmicrohttpd -lz -lcurl -lm

all: $(BINS) ## build the five workers and the millrace command
tests: $(TESTS) $(FUZZERS)
test: $(TESTS:=.passed) $(FUZZERS:=.passed) ## everything that needs no broker

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  cc   $<'
	@$(CC) $(CFLAGS) -MMD -MP -c $< -o $@
$(LIB): $(COMMON:%.c=$(O)/%.o)
	@rm -f $@
	@ar qcs $@ $^
$(O)/bin/millrace: $(patsubst %.c,$(O)/%.o,$(wildcard cli/*.c)) $(LIB)
	@mkdir -p $(@D)
	@echo '  link $@'
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) $^ $(LDLIBS) -o $@
.SECONDEXPANSION:
$(WORKERS:%=$(O)/bin/%): $(O)/bin/%: $$(patsubst %.c,$(O)/%.o,$$(wildcard workers/$$*/*.c)) $(LIB)
	@mkdir -p $(@D)
	@echo '  link $@'
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) $^ $(LDLIBS) -o $@

# A unit test of a worker's pure parts links those objects too (all but main.o).
WORKER_PARTS := $(patsubst %.c,$(O)/%.o,$(filter-out %/main.c,$(wildcard workers/*/*.c cli/*.c)))
$(O)/libparts.a: $(WORKER_PARTS)
	@rm -f $@
	@ar qcs $@ $^
$(TESTS) $(FUZZERS) $(BENCHES): %: %.o $(O)/libparts.a $(LIB)
	@echo '  link $@'
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../../deps/lib' $^ $(LDLIBS) -lcmocka -o $@
%.passed: %
	@$< && touch $@

check: deps ## every test, a real Kafka included; ends with `N passed, N failed`
	@test/check
deps: ; @deploy/deps ## install what this machine lacks
kafka: ; @deploy/local/kafka start ## a real Kafka on this machine; prints its address
kafka-stop: ; @deploy/local/kafka stop ## stop it
asan: ; +$(MAKE) MODE=asan test ## the broker-free tests under AddressSanitizer and UBSan
tsan: ; +$(MAKE) MODE=tsan test ## the broker-free tests under ThreadSanitizer
clean: ; rm -rf build/release build/asan build/tsan ## remove what was built (not the dependencies)
help: ## this list
	@sed -n 's/^\([a-z -]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: all test check deps kafka kafka-stop asan tsan clean help
.DEFAULT_GOAL := all
-include $(shell find $(O) -name '*.d' 2>/dev/null)

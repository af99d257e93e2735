# Millrace: `make help` lists what can be asked for.
MODE ?= release
O := build/$(MODE)
DEPS := build/deps
SHELL := /bin/bash

WORKERS := $(notdir $(patsubst %/,%,$(wildcard workers/*/)))
COMMON := $(wildcard common/*/*.c)
BINS := $(WORKERS:%=$(O)/bin/%) $(if $(wildcard cli/main.c),$(O)/bin/millrace)
LIB := $(O)/libmillrace.a
TESTS := $(patsubst %.c,$(O)/%,$(wildcard test/unit/test_*.c))
INTEGRATIONS := $(patsubst %.c,$(O)/%,$(wildcard test/integration/test_*.c))
TOOLS := $(O)/test/reference/compare $(patsubst %.c,$(O)/%,$(wildcard test/load/*.c))
CHAINS := $(patsubst %,$(O)/%,$(wildcard test/files/*))
FUZZERS := $(patsubst %.c,$(O)/%,$(wildcard test/fuzz/fuzz_*.c))
SIM := $(O)/test/sim/sim
SIM_PARTS := $(patsubst %.c,$(O)/%.o,$(wildcard test/sim/*.c))
BENCHES := $(patsubst %.c,$(O)/%,$(wildcard test/bench/*.c))

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes -Wvla -Wformat=2 \
        -Wimplicit-fallthrough -Wtrampolines -Wbidi-chars=any -Werror
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
          -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing
OPT_release := -O3 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(HARDEN)
OPT_fault := $(OPT_release) -DFAILPOINTS # what test/fault drives; nothing else has fail points
OPT_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread
# -ffp-contract=off: the same sums on every machine (no fused multiply-add)
CFLAGS := -std=gnu11 $(WARN) $(OPT_$(MODE)) -ffp-contract=off -fPIE -pthread -Icommon -I. \
          $(EXTRA_CFLAGS)
LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed
OTHER_LIBS = $(XGBOOST_LIBS) -lavro -ljansson -lsodium -lmicrohttpd -lz -lm
LDLIBS = $(RDKAFKA_LIBS) $(OTHER_LIBS)
comma := ,
# Where a program finds the libraries of build/deps: relative to itself ($(1): the way from it to build/).
runpath = $(DEPS_DIRS:%=-Wl,-rpath,'$$ORIGIN/$(1)/deps/%')

all: $(BINS) ## build the five workers and the millrace command
tests: $(TESTS) $(INTEGRATIONS) $(FUZZERS) $(TOOLS) $(BENCHES) $(SIM)
test: $(TESTS:=.passed) $(FUZZERS:=.passed) $(CHAINS:=.passed) ## everything that needs no broker

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
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) $(call runpath,../..) $^ $(LDLIBS) -o $@
.SECONDEXPANSION:
$(WORKERS:%=$(O)/bin/%): $(O)/bin/%: $$(addprefix $(O)/,$$(addsuffix .o,$$(basename $$(wildcard workers/$$*/*.c)))) $(LIB)
	@mkdir -p $(@D)
	@echo '  link $@'
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) $(call runpath,../..) $^ $(LDLIBS) -o $@

# A unit test of a worker's pure parts links those objects too (all but main.o).
WORKER_PARTS := $(patsubst %.c,$(O)/%.o,$(filter-out %/main.c,$(wildcard workers/*/*.c cli/*.c)))
$(O)/libparts.a: $(WORKER_PARTS)
	@rm -f $@
	@ar qcs $@ $^
$(TESTS) $(INTEGRATIONS) $(FUZZERS) $(BENCHES) $(TOOLS): %: %.o $(O)/libparts.a $(LIB)
	@echo '  link $@'
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) $(call runpath,../../..) $^ $(LDLIBS) -lcmocka -o $@
# The simulation: it stands in for librdkafka, the clock, the signals and the log, so these are not linked; and it loads each model once.
SIM_LDFLAGS := $(patsubst %,-Wl$(comma)--wrap=%,model_try model_load model_free)
$(SIM): $(SIM_PARTS) $(O)/libparts.a $(LIB)
	@echo '  link $@'
	@$(CC) $(OPT_$(MODE)) $(LDFLAGS) $(SIM_LDFLAGS) $(call runpath,../../..) $^ $(OTHER_LIBS) -o $@
%.passed: %
	@$< >$@.log 2>&1 && touch $@ && echo '  ok   $<' || { tail -n 40 $@.log; echo '  FAIL $<'; false; }

# The programs as they run on files.
$(CHAINS:=.passed): $(O)/%.passed: % $(BINS) $(wildcard test/reference/* test/data/golden/* test/data/*/pipeline/*.json test/data/*/pipeline/*/* pipelines/*.json schemas/*) docs/files.md
	@mkdir -p $(@D)
	@BIN=$(O)/bin $< >$@.log 2>&1; s=$$?; case $$s in \
	0) touch $@; echo '  ok   $<';; 77) echo "  skip $<: $$(tail -n 1 $@.log)";; *) tail -n 40 $@.log; echo '  FAIL $<'; false;; esac

check: ; @test/check ## every test, a real Kafka included; ends with `N passed, N failed`
lint: all ; @test/lint ## rules that no compiler checks
faultable: ; +@$(MAKE) MODE=fault all # the workers with fail points, for test/fault
integration: all tests faultable ; @test/check integration $(TEST) ## what needs a real Kafka; TEST=name runs one
sim: $(SIM) ; @$(SIM) --schedules $(or $(SCHEDULES),20000) --seed $(or $(SEED),1) ## simulated faults: SCHEDULES=n SEED=n
mutants: $(SIM) ; @O="$(O)" CC="$(CC)" CFLAGS="$(CFLAGS)" LINK="$(OPT_$(MODE)) $(LDFLAGS) $(SIM_LDFLAGS)" LIBS="$(OTHER_LIBS)" test/sim/mutate $(MUTANT) ## the same without one safeguard after the other: MUTANT=name
bench: all $(BENCHES) $(TOOLS) faultable ; @test/run_bench $(BENCH) ## print figures; BENCH=name runs one program
demo: ; @deploy/demo $(PIPELINE) ## a pipeline on this machine, PIPELINE=fraud or demand; KEEP=1 leaves it running
kafka: ; @deploy/local/kafka start ## a real Kafka on this machine; prints its address
kafka-stop: ; @deploy/local/kafka stop ## stop it
deps: ; @deploy/deps check ## install what this machine lacks
sbom: ; @deploy/deps sbom ## list the libraries with versions and hashes
asan: ; +@$(MAKE) MODE=asan test && $(MAKE) MODE=asan sim SCHEDULES=500 ## the broker-free tests and 500 schedules under AddressSanitizer and UBSan
tsan: ; +@TSAN_OPTIONS=suppressions=test/tsan.supp $(MAKE) MODE=tsan test ## the same under ThreadSanitizer
valgrind: $(TESTS:=.memcheck) $(CHAINS:=.memcheck) ## the same under valgrind; errors and lost memory fail
# Without freeres: a forked child's would move the files' offsets, which it shares with its parent.
# With OMP_WAIT_POLICY: else train begins again (model/booster.h), and valgrind does not go along.
MEMCHECK := env OMP_WAIT_POLICY=PASSIVE valgrind -q --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
            --run-libc-freeres=no
%.memcheck: %
	@$(MEMCHECK) $< >$@.log 2>&1 || { cat $@.log; false; }
	@echo '  memcheck $<'
$(CHAINS:=.memcheck): $(O)/%.memcheck: % $(BINS)
	@mkdir -p $(@D)
	@BIN=$(O)/bin WRAP="$(MEMCHECK)" $< >$@.log 2>&1; s=$$?; case $$s in \
	0) echo '  memcheck $<';; 77) echo "  skip $<: $$(tail -n 1 $@.log)";; *) cat $@.log; false;; esac
fuzz: ; +@FUZZ_RUNS=$(or $(FUZZ_RUNS),200000) $(MAKE) MODE=asan fuzzers ## outside bytes under ASan; FUZZ_RUNS=n
fuzzers: $(FUZZERS) ; @for f in $^; do ./$$f || exit 1; done
clean: ; rm -rf build/release build/asan build/tsan build/fault ## remove what was built (not the dependencies)
help: ## this list
	@sed -n 's/^\([a-z -]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

# build/deps/deps.mk says how to link with the libraries of build/deps; where it is missing or old, it is made first,
# but for goals that build nothing, or after they have asked for more than it.
ifneq ($(filter-out help clean sbom deps kafka kafka-stop check demo,$(or $(MAKECMDGOALS),all)),)
include $(DEPS)/deps.mk
endif
$(DEPS)/deps.mk: deploy/deps deploy/deps.lock ; @deploy/deps

.PHONY: all tests test check lint faultable integration sim mutants bench demo kafka kafka-stop deps sbom asan tsan valgrind fuzz fuzzers clean help
.DEFAULT_GOAL := all
-include $(shell find $(O) -name '*.d' 2>/dev/null)

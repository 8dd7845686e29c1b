# The outside of the build: CONTRIBUTING.md lists the targets.
# Nothing but a Rust toolchain is needed for `make`, `make demo` and the tools.

CARGO ?= cargo
TRIALS ?= 20
FUZZ_SECONDS ?= 600
# Programs of this version, in the order of their use.
PROGRAMS := demo client demo-cluster seed ctrlc
TARGET := $(or $(CARGO_TARGET_DIR),target)
# What a measurement runs: built for it, or taken from the directory BUILT, and tests of the package or workspace BLACKBOX.
BLACKBOX ?= -p funk-tests
tool = $(if $(BUILT),$(BUILT)/$(1),$(CARGO) run --release --locked --quiet -p funk-benches --bin $(1) --)
simulator = $(if $(BUILT),$(BUILT)/sim,$(CARGO) run --profile $(1) --locked --quiet -p funk-sim --bin sim --)

.PHONY: all build demo test test-matrix check failover startup restart ownership attrition churn stories moves rolling hop idle scale cases image deploy-test bench sim sim-soak mutants fuzz walkthrough clean

all: build

# The programs. Where objcopy works, their debug information goes into a file beside each, where debuggers and panics find it.
build:
	$(CARGO) build --release --locked -p funk-demo -p funk-ctrlc --bins
	@mkdir -p bin/.new
	@for program in $(PROGRAMS); do \
		built="$(TARGET)/release/$$program"; new="bin/.new/$$program"; \
		if objcopy --only-keep-debug "$$built" "$$new.debug" 2>/dev/null && \
			objcopy --strip-debug --add-gnu-debuglink="$$new.debug" "$$built" "$$new" 2>/dev/null; \
		then mv -f "$$new.debug" bin/; \
		else rm -f "bin/$$program.debug" && cp -f "$$built" "$$new"; fi && \
		mv -f "$$new" bin/ || exit 1; \
	done
	@rm -rf bin/.new

demo: build
	@exec bin/demo-cluster

# Every test that needs no extra machine.
test:
	@exec tests/check

# The same black-box tests over each transport and on each runtime: STREAMS=quic RUNTIME=smol for a part.
test-matrix: build
	@exec tests/matrix

# The parts of `make test` that need no running cluster; quick after the first time.
check:
	@exec tests/check quick

# Kills and stops leaders and followers of real clusters: FAILOVER="--nodes 3 --fault kill" for a part of the cells,
# FAILOVER="--discovery mdns" for nodes that find each other.
failover: build
	@$(call tool,failover) --trials $(TRIALS) $(FAILOVER)

# Times from a start to Operational, and ten nodes that start at one moment.
startup: build
	@$(call tool,failover) --startup --trials $(TRIALS) $(FAILOVER)

# All nodes of a cluster with data directories are killed at once under load and started again, ROUNDS times.
restart:
	@$(call tool,restart) --rounds $(or $(ROUNDS),50) $(RESTART)

# REQUESTS through bin/client while nodes are killed, drained and added.
churn: build
	@FUNK_REQUESTS=$(or $(REQUESTS),10000) $(CARGO) test --locked $(BLACKBOX) --test blackbox -- --nocapture client::no_request

# The stories in tests/transcripts, told anew, and what that changed.
stories:
	@FUNK_REWRITE=1 $(CARGO) test --locked $(BLACKBOX) --test core transcripts && git diff tests/transcripts

# Twelve nodes lose a voter every PAUSE seconds, eight times, and nobody is started again.
attrition: build
	@FUNK_PAUSE=$(or $(PAUSE),20) $(CARGO) test --locked $(BLACKBOX) --test blackbox -- --nocapture attrition::

# Owners that are stopped, cut off and killed while they write to a store that refuses stale epochs;
# OWNERSHIP="--pause 5" for shorter rounds. Needs ip, unshare, nsenter and nft.
ownership:
	@$(call tool,ownership) --rounds $(or $(ROUNDS),100) $(OWNERSHIP)

# What clients of the other shards notice while 10 of 1,000 move, in PAIRS pairs of windows: MOVES="--seconds 2" for longer ones.
moves: build
	@$(call tool,moves) --pairs $(or $(PAIRS),10) --json "$(TARGET)/bench/moves.json" $(MOVES)

# Five nodes with data directories are restarted one after the other under load, ROUNDS times; ROLLING="--nodes 3" for fewer.
rolling: build
	@$(call tool,rolling) --rounds $(or $(ROUNDS),3) --json "$(TARGET)/bench/rolling.json" $(ROLLING)

# NODES nodes that start at one moment, RUNS times, then a minute at rest; SCALE="--busy 2" beside programs that take two cores.
scale: build
	@$(call tool,scale) --nodes $(or $(NODES),100) --runs $(or $(RUNS),1) $(SCALE)

# What a hop through funk costs beside a plain tonic server, nginx and HAProxy, where these are installed; HOP="--callers 1" for a part.
hop: build
	@$(call tool,hop) --json "$(TARGET)/bench/hop.json" $(HOP)

# Processor time, loopback traffic and gossip by node of five nodes at rest, in a network namespace of their own.
idle: build
	@$(call tool,idle) $(IDLE)

# What production, and people who mean harm, do to a cluster: tests/cases/README.md. CASES="hop log-full-disk" chooses.
# Needs root, for network namespaces.
cases: build
	@$(if $(filter 0,$(shell id -u)),,sudo FUNK_BIN="$(CURDIR)/bin") tests/cases/run $(CASES)

# The image of deploy/docker/Dockerfile, from the programs in bin/, as $(TARGET)/image/funk.tar for `docker load`. Needs buildah.
image: build
	@mkdir -p "$(TARGET)/image"
	@deploy/docker/build "$(CURDIR)/bin" "$(abspath $(TARGET))/image"

# The image as containers and the manifests as pods, without an engine and without a cluster: docs/deployment.md. DEPLOY="pods" chooses.
# Needs root, for network namespaces; what runs in the containers is not root.
deploy-test: image
	@$(if $(filter 0,$(shell id -u)),,sudo) env FUNK_BIN="$(CURDIR)/bin" FUNK_IMAGE="$(abspath $(TARGET))/image/funk.tar" tests/deploy/run $(DEPLOY)

# Plants one bug after the other and asks how soon the simulator finds it; fails if one is not found.
mutants:
	@RUSTFLAGS="--cfg funk_mutate" $(CARGO) run --release --locked --quiet --target-dir $(TARGET)/mutate -p funk-tests --bin mutants -- $(MUTANTS)

# Types what docs/simulating.md tells the author of a service to type: a bug in it is found and replayed. At most 15 minutes, builds included.
# Then docs/first-service.md, from a new crate to a service that survives the death of a node.
walkthrough:
	@$(if $(PAGE),$(PAGE),tests/walkthrough && tests/first-service)

# Every fuzz target for FUZZ_SECONDS each; needs cargo-fuzz and a nightly toolchain.
fuzz:
	@exec fuzz/run $(FUZZ_SECONDS)

# One seed with its story (SEED=17, or any text, such as a commit's hash; NODE=n1,n2 and KIND=state,fault
# choose lines), or as many as SEEDS says. PLAN=file replays a plan that was kept. SHRINK=1 makes a failing one smaller.
# HTML=file writes the run as a picture beside its story; with SEEDS, HTML=directory gets one for each seed that fails.
sim:
	@$(call simulator,release) \
		$(if $(SEEDS),--seeds $(SEEDS) $(if $(SEED),--first $(SEED)),$(if $(PLAN),--plan $(PLAN),--seed $(or $(SEED),$(shell git rev-parse HEAD)))) \
		$(if $(HTML),$(if $(SEEDS),--html-on-failure,--html) "$(HTML)") \
		$(if $(NODE),--node $(NODE)) $(if $(KIND),--kind $(KIND)) $(if $(SHRINK),--shrink)

# Seeds on all cores for MINUTES, 60 simulated seconds each; SIM_PROFILE=release is built sooner and runs slower.
sim-soak:
	@$(call simulator,$(or $(SIM_PROFILE),sim)) --minutes $(or $(MINUTES),10) --first $(or $(SEED),0)

# The criterion benches (BENCH="--warm-up-time 1 --measurement-time 2" makes them short), then fail-overs of real
# clusters; ends with one table and target/bench/summary.json.
bench: build
	$(CARGO) bench --locked -p funk-benches -- $(BENCH)
	$(call tool,failover) --trials $(or $(BENCH_TRIALS),10) --nodes 3 --settle 1 --json "$(TARGET)/bench/failover.json" $(FAILOVER)
	@$(call tool,summary) "$(TARGET)"

clean:
	$(CARGO) clean
	rm -rf bin

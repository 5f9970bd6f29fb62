# Every target is one call; the logic lives in the programs. `make help` lists them.
EXP     ?= default
FIT     ?= --fit
RESULTS ?= results
RUN     ?= $(shell ls -td $(RESULTS)/$(EXP)/*/ 2>/dev/null | head -n 1)
C2M     := target/release/c2m
# The run that the documents show.
SWEEP   := results/sweep/20261125T142106Z-adba7e145
export FUZZ_SECONDS ?= 10

.DEFAULT_GOAL := help
FLEET_PACKAGES := iproute2 openssh-server openssh-client util-linux
.PHONY: help build experiment smoke test check fmt clippy bench plots report index pictures compare man conformance faults sensitivity fuzz-smoke \
  fleet backplane dist dist-check image deploy-lint k8s-check ansible-check

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  EXP=name picks experiments/name.toml (default: $(EXP)); FIT= runs every point or none; RUN=dir picks a run directory"

build: ## Build the three programs, optimised
	cargo build --release --locked --workspace --bins

NODE_SERVER := experiments/servers/node/node_modules
$(NODE_SERVER): experiments/servers/node/package-lock.json
	@command -v npm > /dev/null || { echo "npm is missing (Debian package npm), or leave Node out as experiments/engines.toml says" >&2; exit 1; }
	npm ci --silent --prefix $(@D)
	touch $@

# What an experiment needs beside the three programs.
experiment: build $(if $(filter engines,$(EXP)),$(NODE_SERVER)) ## Run experiments/$(EXP).toml, as far as it fits this machine, and name the report
	$(C2M) run experiments/$(EXP).toml $(FIT) --results $(RESULTS)

smoke: build ## 1,000 clients, a few seconds
	$(C2M) run experiments/smoke.toml --results $(RESULTS)

test: ## All tests
	cargo build --locked --workspace --bins
	cargo test --locked --workspace

check: fmt clippy test ## What a change must pass: format, lints, tests

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench: ## criterion benches of codec, ledger, histogram and fan-out
	cargo bench --locked --workspace

plots: build ## Draw the charts of RUN again
	$(C2M) plot $(RUN)

report: build ## Write the report of RUN again
	$(C2M) report $(RUN)

index: build ## List every run below $(RESULTS) on one page, with links to the reports
	$(C2M) report --index $(RESULTS)

# One line for each source of pictures.
pictures: build ## Draw every picture of the documents again: from committed results, pages from a live server (Chromium)
	$(C2M) plot $(SWEEP) --only users,htop,memory,broadcast --format png --out docs
	$(C2M) replay $(SWEEP) --picture docs/live.png
	$(C2M) report $(SWEEP)
	conformance/report-picture $(SWEEP) docs/report.png
	conformance/pictures docs

compare: build ## Compare run directories: make compare A=dir B=dir
	$(C2M) compare $(A) $(B)

man: ## Write man pages and shell completions into target/man and target/completions
	cargo run --release --locked -p c2m-manual -- target

conformance: build ## Clients and suites that others wrote, against server and load client; PART=name for one of them
	conformance/run $(PART)

faults: ## Kill, stop and starve each process of a run of 10,000 clients, fill its disk (minutes)
	cargo build --release --locked --workspace --bins
	cargo test --release --locked -p c2m --test faults -- --ignored --test-threads=1

fleet: ## Several hosts: namespaces with a real sshd each, 60,000 clients, killed agents, cut links (root, minutes)
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && ! [ -x /usr/sbin/sshd ]; then \
	  apt-get -qq update && apt-get -qq install -y --no-install-recommends $(FLEET_PACKAGES); fi
	cargo build --locked --workspace --bins
	cargo test --locked -p c2m --test fleet -- --ignored --test-threads=1

backplane: ## Two and three server nodes over a real nats-server, 30,000 clients, NATS killed in mid-run (minutes)
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && ! command -v nats-server > /dev/null; then \
	  apt-get -qq update && apt-get -qq install -y --no-install-recommends nats-server || true; fi
	@command -v nats-server > /dev/null || echo "backplane: skipped, there is no nats-server (Debian package nats-server)"
	if command -v nats-server > /dev/null; then cargo build --locked --workspace --bins && \
	  cargo test --locked -p c2m-server --test server --test tokio backplane && \
	  cargo test --locked -p c2m --test backplane -- --ignored --test-threads=1; fi

sensitivity: build ## Two runs of this build compare as same, one with a slower fan-out as worse (minutes, quiet machine)
	harness/sensitivity

fuzz-smoke: ## Run each fuzz target for FUZZ_SECONDS (needs a C++ compiler; installs cargo-fuzz into target/tools)
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	fuzz/smoke.sh
	cargo clippy --manifest-path fuzz/Cargo.toml --locked --all-targets -- -D warnings

dist: ## Pack the programs so that they run on any Linux with glibc 2.17 or later: target/dist/
	deploy/dist

dist-check: dist ## Whether the archive is complete, needs no later glibc, and runs on an old Debian (root)
	deploy/dist-check

image: ## Build the container image with podman, buildah or docker
	deploy/image

deploy-lint: ## Lint container file, YAML, scripts and playbooks of deploy/
	deploy/lint

k8s-check: build ## Manifests against the schemas of Kubernetes, and a run through their hosts.toml
	deploy/kubernetes/check

ansible-check: build ## Playbooks on two hosts, as namespaces with a real sshd: set, set again, run, undo (root)
	deploy/ansible/check

# Each target is a thin wrapper around Bazel, or around the compose tool of this machine.
# `make help` lists them.
BAZEL := ./bazelw
COMPOSE := $(BAZEL) run --ui_event_filters=-info,-stdout,-stderr --noshow_progress //tools/compose --
IMAGES := go-orchestrator rust-compute python-ai-client

.DEFAULT_GOAL := help
.PHONY: help validate schema-gen ide build wheel test unit-test integration-test e2e-test lint format bench report repro images docker-build docker-up docker-down logs status clean distclean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r target text; do printf '  %-18s %s\n' "$$target" "$$text"; done

validate: ## check whether this machine can build and train
	$(BAZEL) doctor
	$(BAZEL) run //:pangea -- doctor

schema-gen: ## copy the generated bindings to generated/schemas
	$(BAZEL) run //tools/schema_gen

ide: ## write what editors need: rust-analyzer, gopls, pyright
	$(BAZEL) run //tools/ide

build: ## build everything
	$(BAZEL) build //...

wheel: ## build the file that pip installs
	$(BAZEL) build //services/python-ai-client:wheel

test: ## build everything and pass every test
	$(BAZEL) test //...

unit-test: ## tests beside the code
	$(BAZEL) test -- //services/... //libraries/... //schemas/... //tools/... //third_party/...

integration-test: ## tests of several processes or languages, in the sandbox
	$(BAZEL) test //tests/...

e2e-test: ## deploy the stack in containers, kill parts of it, compare its bits (steps 1 to 5 and 7 of setup.sh)
	./setup.sh --steps 1-5,7

lint: ## run the linters as CI does
	$(BAZEL) run //:lint
	$(BAZEL) build --config=lint //...

format: ## fix what can be fixed
	$(BAZEL) run //:format

bench: ## measure speed compared with peers
	$(BAZEL) run //tools/bench

report: ## versions, digests, test counts and cache hits of a run of all tests
	@mkdir -p generated
	$(BAZEL) test --build_event_json_file=generated/events.json //...
	$(BAZEL) run //tools/report -- --events generated/events.json

repro: ## build twice, in different places, and compare every output
	$(BAZEL) run //tools/repro

images: $(addprefix load-,$(IMAGES)) ## build the container images and load them into podman or docker
docker-build: images ## the same

load-%:
	$(BAZEL) run //services/$*:$*_load

docker-up: ## start the stack of infra/docker-compose.yaml
	$(COMPOSE) up -d

docker-down: ## stop it; the files of the run stay
	$(COMPOSE) down

logs: ## follow the stack's logs
	$(COMPOSE) logs -f

status: ## what the stack and its run are doing
	$(COMPOSE) ps
	$(BAZEL) run //:pangea -- status 127.0.0.1:8081

clean: ## remove build outputs; caches stay
	$(BAZEL) clean
	rm -rf generated

distclean: ## remove build outputs and what Bazel fetched for this clone; the shared cache folder stays
	$(BAZEL) clean --expunge
	rm -rf generated pangea-runs bench-results

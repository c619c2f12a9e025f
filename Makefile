# make demo    the main job end to end, on this machine, in network namespaces
# make test    all tests and checks
# make build   the static binary, bin/gatelodge
# make release binaries, packages and checksums, in dist/
# make man     manual pages and completions, in dist/manual/

SHELL    := /bin/bash
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -buildid= -X github.com/gatelodge/gatelodge/internal/cli.Version=$(VERSION)
PROGRAMS := nft:nftables ip:iproute2 nsenter:util-linux gcc:gcc

.PHONY: demo test build check race release man fuzz deps clean

demo: deps build
	bin/gatelodge lab

test: deps check race

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/gatelodge ./cmd/gatelodge

# What tests and demo need from the system, installed if it is missing.
deps:
	@missing=; for p in $(PROGRAMS); do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing with apt:$$missing"; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; \
	fi

check:
	@unformatted=$$(gofmt -l cmd internal packaging *.go); if [ -n "$$unformatted" ]; then echo "gofmt differs: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) -C packaging/release vet .
	staticcheck=$$($(GO) tool -n staticcheck) && cd packaging/release && $$staticcheck .

# The race detector needs cgo; the product does not.
race:
	CGO_ENABLED=1 $(GO) test -race -timeout 12m ./...
	$(GO) -C packaging/release test .

# The same commit and the same Go give the same bytes; see docs/releasing.md.
release:
	rm -rf dist
	$(GO) -C packaging/release run . -out $(CURDIR)/dist

man:
	$(GO) run ./packaging/manual -out dist/manual -version $(VERSION)

# A minute for each parser; not part of make test, which runs their seeds.
fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep ^Fuzz || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 60s $$package; done; done

clean:
	rm -rf bin dist

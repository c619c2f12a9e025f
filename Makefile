# make demo    the main job end to end, on this machine, in network namespaces
# make test    all tests and checks
# make crash   killed at every step and with every system call failing; docs/crashes.md
# make build   the static binaries, bin/gatelodge and bin/gatelodge-lab
# make vm-test the package on virtual machines: kernel WireGuard, systemd, reboots
# make vm-more more of that, for an hour: others' firewalls, hundreds of crashes, odd VPSs
# make release binaries, packages and checksums, in dist/; of another version than git's with VERSION=0.1.0
# make cast    the picture of a terminal in README, from a real run in the lab
# make man     manual pages and completions, in dist/manual/

SHELL    := /bin/bash
GO       ?= go
# The version that was asked for, and not git's: release asks git itself.
ASKED    := $(patsubst v%,%,$(VERSION))
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -buildid= -X github.com/gatelodge/gatelodge/internal/cli.Version=$(VERSION) -X github.com/gatelodge/gatelodge/internal/lab/command.Version=$(VERSION)
PROGRAMS := nft:nftables ip:iproute2 nsenter:util-linux gcc:gcc strace:strace

# What only tests need: the .rpm is installed by rpm(8), in a tree of its own;
# the scripts of the .apk are run by the shell that Alpine has.
TEST_PROGRAMS := iptables-legacy:iptables rpm:rpm systemd-sysusers:systemd-standalone-sysusers busybox:busybox-static

# What the virtual machines need; only vm-test, and only as root.
VM_PROGRAMS := qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap mke2fs:e2fsprogs ssh-keygen:openssh-client
# The most it may take is 15 minutes; what hangs must not hang for ever.
VM_TIMEOUT  ?= 30m
VM_RUN      ?= ^Test(Kernel|Embedded)$$
VM_REBOOTS  ?= 1
VM_FORMATS  ?= deb

.PHONY: announce-demo announce-test cast crash demo test build check race release man vm-test vm-run vm-more vm-reboots vm-deps vm-packages fuzz deps test-deps clean

demo: announce-demo deps build
	bin/gatelodge lab

test: announce-test test-deps check race

# What a target is about to do to this machine, and how long that takes.
announce-demo: ABOUT = builds the program (1 to 2 minutes the first time), then runs the lab (some 20 seconds)
announce-demo: WANTED = $(PROGRAMS)
announce-test: ABOUT = all tests and checks: some 12 minutes on two cores
announce-test: WANTED = $(PROGRAMS) $(TEST_PROGRAMS)
announce-demo announce-test:
	@echo '$(@:announce-%=make %): $(ABOUT)'
	@echo 'needs $(sort $(foreach p,$(WANTED),$(lastword $(subst :, ,$(p))))): what is missing is installed with apt; nothing else of this machine changes'

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/gatelodge ./cmd/gatelodge-lab

# What tests and demo need from the system, installed if it is missing.
deps: WANTED = $(PROGRAMS)
test-deps: WANTED = $(PROGRAMS) $(TEST_PROGRAMS)
vm-deps: WANTED = $(PROGRAMS) $(VM_PROGRAMS)
deps test-deps vm-deps:
	@missing=; for p in $(WANTED); do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing with apt:$$missing"; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; \
	fi

check:
	@unformatted=$$(gofmt -l bench cmd crash internal packaging vmtest *.go); if [ -n "$$unformatted" ]; then echo "gofmt differs: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags vm ./vmtest
	$(GO) vet -tags steps ./internal/step
	$(GO) tool staticcheck ./...
	$(GO) -C packaging/release vet .
	staticcheck=$$($(GO) tool -n staticcheck) && cd packaging/release && $$staticcheck .

# The race detector needs cgo; the product does not.
race:
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...
	$(GO) test -tags steps ./internal/step
	$(GO) -C packaging/release test .

# All of what make test tries a sample of, which takes an hour.
crash: deps
	CGO_ENABLED=0 $(GO) test -tags steps ./internal/step
	CGO_ENABLED=0 $(GO) build -tags steps -o /dev/null ./cmd/gatelodge # the tests build it where there is no network
	CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 3h ./crash -all -update

# A report and the consoles' logs are left in bin/vm.
vm-test: vm-deps vm-packages vm-run

vm-run:
	CGO_ENABLED=0 $(GO) test -tags vm -count=1 -v $(VM_JSON) -timeout $(VM_TIMEOUT) -run '$(VM_RUN)' ./vmtest \
	  -package $(CURDIR)/bin/vm/gatelodge.deb -next-package $(CURDIR)/bin/vm/next.deb -output $(CURDIR)/bin/vm -reboots $(VM_REBOOTS) $(VM_FLAGS)

# Ten reboots and ten power cuts of each side, for the times.
vm-reboots:
	$(MAKE) vm-test VM_TIMEOUT=60m VM_REBOOTS=10 VM_RUN='TestKernel/(^install|main|reboots|power_cut)'

# What takes too long for every change.
vm-more:
	$(MAKE) vm-test VM_TIMEOUT=90m VM_RUN='^TestMore' VM_FLAGS=-more VM_FORMATS=deb,rpm

# Two versions of the packages, so that one can be upgraded to the other.
vm-packages: build
	rm -rf bin/vm && mkdir -p bin/vm/new
	$(GO) -C packaging/release run . -out $(CURDIR)/bin/vm -arch amd64 -formats $(VM_FORMATS) -foreign=false -lab=false -version 0.0.1 -binary $(CURDIR)/bin/gatelodge
	$(MAKE) build VERSION=0.0.2 && $(GO) -C packaging/release run . -out $(CURDIR)/bin/vm/new -arch amd64 -formats $(VM_FORMATS) -foreign=false -lab=false -version 0.0.2 -binary $(CURDIR)/bin/gatelodge
	cd bin/vm && for f in $$(echo $(VM_FORMATS) | tr , ' '); do mv gatelodge[-_]*.$$f gatelodge.$$f && mv new/gatelodge[-_]*.$$f next.$$f; done

# The same commit and the same Go give the same bytes; see docs/releasing.md.
release:
	rm -rf dist
	$(GO) -C packaging/release run . -out $(CURDIR)/dist$(if $(ASKED), -version '$(ASKED)')

# The picture of a terminal in README, from a run of init and expose in the lab.
cast: deps build
	$(GO) run ./packaging/cast -binary bin/gatelodge

man:
	$(GO) run ./packaging/manual -out dist/manual -version $(VERSION)

# A minute for each parser; not part of make test, which runs their seeds.
fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep ^Fuzz || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 60s $$package; done; done

clean:
	rm -rf bin dist

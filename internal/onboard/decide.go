package onboard

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/survey"
)

// decide shows all that was found and will be done, and asks.
func (s *setup) decide(ctx context.Context) error {
	return s.progress.Agree(ctx, Proposal{VPS: describe(s.found), There: s.workThere(), Here: s.workHere(), Notes: s.verdict.Notes})
}

func (s *setup) workThere() []string {
	var work []string
	if s.verdict.InstallNFT {
		work = append(work, "apt-get install nftables")
	}
	if s.verdict.Bring {
		work = append(work, fmt.Sprintf("copy gatelodge to %s (%d MB)%s", install.Program, len(s.bring)>>20, asService(s.found.Init == "systemd")))
	}
	if s.verdict.Init {
		work = append(work, fmt.Sprintf("make it a gate: WireGuard on UDP port %d; %s", s.o.ListenPort, survey.InputText(s.o.Input == "leave", "the VPS")))
	}
	if s.verdict.Enable {
		work = append(work, "have the service gatelodge start at boot")
	}
	return append(work, "invite the home "+s.o.Name)
}

func (s *setup) workHere() []string {
	var work []string
	if s.install {
		work = append(work, "copy gatelodge to "+install.Program+asService(true))
	}
	return append(work,
		"make it a home: "+s.here.Paths.ConfigFile(forward.Home),
		"publish a free TCP port for some seconds, to prove that visitors arrive")
}

func asService(is bool) string {
	if is {
		return ", as the service gatelodge"
	}
	return ""
}

// describe says in lines what a machine is.
func describe(f survey.Facts) []string {
	virtual := ""
	if f.Virtual != "" && f.Virtual != "none" {
		virtual = ", " + f.Virtual
	}
	lines := []string{
		fmt.Sprintf("system       %s, Linux %s, %s%s", f.DistributionName, f.Kernel, f.Machine, virtual),
		"public       " + publicText(f),
	}
	if f.NFT != "" {
		lines = append(lines, "nftables     "+f.NFT)
	}
	return lines
}

func publicText(f survey.Facts) string {
	var text []string
	for _, a := range f.Public() {
		text = append(text, a.String())
	}
	if len(text) == 0 {
		return "no address of its own"
	}
	return strings.Join(text, ", ")
}

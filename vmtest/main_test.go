//go:build vm

// Package vmtest is the suite of virtual machines: the shipped package under
// the shipped unit on Debian 12, with a real kernel, systemd and reboots.
// Between the machines lies the small internet of package lab, with its NAT in
// front of home. Run it with make vm-test.
//
//	visitor ── internet ──┬── gate   a virtual machine, 512 MB
//	                      └── cgnat ── home   a virtual machine
package vmtest

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/machine"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

var (
	packageFile = flag.String("package", "", "the .deb to test")
	nextPackage = flag.String("next-package", "", "a .deb of a later version, to upgrade to")
	output      = flag.String("output", "", "folder for the report and the consoles' logs")
	reboots     = flag.Int("reboots", 1, "how often each side is rebooted, and has its power cut")
)

var more = flag.Bool("more", false, "fetch the packages of others' firewalls, for the tests called TestMore")

// serviceName is what this program is called on a machine, where it is what
// visitors come for: see service.
const serviceName = "services"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == serviceName {
		if err := service(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if err := checkFlags(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	// Outside there is a network to fetch Debian's packages from.
	if !netns.Inside() {
		if err := bringDebian(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	status, outside, err := netns.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if outside {
		os.Exit(status)
	}
	status = m.Run()
	if err := writeReport(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// bringDebian has image and packages made, where they are not there already.
func bringDebian(ctx context.Context) error {
	image, err := machine.Build(ctx, os.Stderr)
	if err != nil || !*more {
		return err
	}
	_, err = machine.Packages(ctx, image, foreignPackages(), os.Stderr)
	return err
}

func checkFlags() error {
	for _, f := range []string{*packageFile, *nextPackage, *output} {
		if !filepath.IsAbs(f) {
			return fmt.Errorf("-package, -next-package and -output are needed, as absolute paths; make vm-test gives them")
		}
	}
	return os.MkdirAll(*output, 0o755)
}

// service is home's echo; or with "hold PORT" a program that holds a UDP port,
// with "hog MIB" one that holds memory, with "spoof ADDRESS COUNT PACE" one that
// sends packets under many names, with "udp ADDRESS SOURCES" the same by UDP, with
// "ask ADDRESS FROM" one that sends from all ports of its own address, with "handshakes ADDRESS
// KEY COUNT" one that begins WireGuard's handshakes.
func service(args []string) error {
	switch {
	case len(args) < 2:
		return serve()
	case args[0] == "hog":
		return hog(args[1])
	case args[0] == "spoof" && len(args) == 4:
		return spoof(args[1], args[2], args[3])
	case args[0] == "udp" && len(args) == 3:
		return floodUDP(args[1], args[2])
	case args[0] == "ask" && len(args) == 3:
		return ask(args[1], args[2])
	case args[0] == "handshakes" && len(args) == 4:
		return handshakes(args[1], args[2], args[3])
	}
	held, err := net.ListenPacket("udp", ":"+args[1])
	if err != nil {
		return err
	}
	for { // until it is killed
		if _, _, err := held.ReadFrom(make([]byte, 1)); err != nil {
			return err
		}
	}
}

// hog takes memory and keeps it.
func hog(mib string) error {
	n, err := strconv.Atoi(mib)
	if err != nil {
		return err
	}
	taken := make([]byte, n<<20)
	for {
		for i := 0; i < len(taken); i += os.Getpagesize() {
			taken[i]++
		}
		fmt.Println("taken", mib)
		time.Sleep(time.Second)
	}
}

// servedPorts are those of home's services, over TCP and UDP.
var servedPorts = []int{443, 7000, 7001, 7002}

// serve is an echo on every one of the ports, and a service that answers late.
func serve() error {
	failed := make(chan error)
	late, err := net.ListenPacket("udp", fmt.Sprintf(":%d", latePort))
	if err != nil {
		return err
	}
	go answerLate(late)
	for _, port := range servedPorts {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		packets, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go lab.EchoUDP(packets, "home")
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go func() {
					defer c.Close()
					lab.EchoTCP(c, "home")
				}()
			}
		}()
	}
	return <-failed
}

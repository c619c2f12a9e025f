package lab

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestMissingProgramsNameTheirPackages(t *testing.T) {
	err := missingPrograms(func(name string) (string, error) {
		if name == "ip" {
			return "/sbin/ip", nil
		}
		return "", errors.New("not found")
	})
	want := "the lab needs nft(8): apt install nftables\nthe lab needs nsenter(8): apt install util-linux"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestUsersFindWhatDebianKeepsFromTheirPath(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	if err := CheckPrerequisites(); err != nil {
		t.Error(err)
	}
	t.Setenv("PATH", "/usr/bin:/usr/sbin")
	if err := CheckPrerequisites(); err != nil {
		t.Error(err)
	}
	if got := strings.Count(os.Getenv("PATH"), "/usr/sbin"); got != 1 {
		t.Errorf("PATH is %s", os.Getenv("PATH"))
	}
}

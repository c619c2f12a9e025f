//go:build vm

package vmtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// TestMore is what takes too long for every change: make vm-more.
func TestMore(t *testing.T) {
	w := newWorld(t, "kernel", machine.Boot{})
	w.mainJob(t)
	w.scenario(t, "doctor on machines", "", w.doctors)
	w.scenario(t, "floods of connections", "35, 38", w.floods)
	w.scenario(t, "flood of UDP", "35, 50", w.floodOfUDP)
	w.scenario(t, "more UDP visitors than home can note", "48, 50", w.fullSet)
	w.scenario(t, "flood by a home", "39, 50", w.floodByHome)
	w.scenario(t, "flood of handshakes", "37", w.handshakeFlood)
	w.scenario(t, "killed as often as it starts", "6, 32", w.killedForMinutes)
	w.scenario(t, "cannot start for minutes", "32", w.cannotStart)
	w.scenario(t, "killed when memory runs out", "6, 30", w.noMemory)
	w.scenario(t, "as many forwards as fit", "30", w.manyForwards)
	w.scenario(t, "no memory left", "6, 30", w.hog)
}

// killedForMinutes kills both daemons at every moment of their start and after,
// for as long as systemd starts them again.
func (w *world) killedForMinutes(t *testing.T) {
	const minutes = 3
	c := w.connect(t, 7000)
	s := w.newStream(t, 7000)
	said := w.bothWithin(t, (minutes+3)*time.Minute, fmt.Sprintf(`
procs=/sys/fs/cgroup/system.slice/gatelodge.service/cgroup.procs
hundredths() { read -r up _ </proc/uptime; now=${up%%.*}${up#*.}; }
daemon() { pid=; { read -r pid <$procs; } 2>/dev/null || true; }
hundredths; end=$((now + %d)); from=$now; kills=0; longest=0; pause=0
while hundredths; [ $now -lt $end ]; do
	daemon
	[ -n "$pid" ] || { sleep 0.05; continue; }
	hundredths; [ $kills = 0 ] || [ $((now - from)) -le $longest ] || longest=$((now - from))
	sleep 0.$pause; pause=$(((pause + 1) %% 6))
	daemon
	[ -n "$pid" ] && kill -9 $pid 2>/dev/null || continue
	kills=$((kills + 1)); hundredths; from=$now
	while daemon; [ -n "$pid" ] && hundredths && [ $((now - from)) -lt 50 ]; do sleep 0.05; done
done
echo $kills $longest
for try in $(seq 100); do ! systemctl is-active -q gatelodge || break; sleep 0.3; done
systemctl is-active gatelodge
systemctl show -P NRestarts gatelodge
systemctl show -P Result gatelodge
journalctl -u gatelodge --no-pager | grep -c 'start-limit\|repeated too quickly' || true`, minutes*60*100))
	w.visitor(t)
	c.alive(t)
	sent, lost, gap := s.end(t)
	var figures []string
	for _, m := range w.machines() {
		var kills, longest, restarts, gaveUp int
		var active, result string
		if _, err := fmt.Sscan(said[m.Name], &kills, &longest, &active, &restarts, &result, &gaveUp); err != nil {
			t.Fatalf("%s: %q: %v", m.Name, said[m.Name], err)
		}
		pause := time.Duration(longest) * 10 * time.Millisecond
		figures = append(figures, fmt.Sprintf("%s %d kills, started again after %.1f s at most", m.Name, kills, pause.Seconds()))
		if active != "active" || result != "success" || gaveUp != 0 {
			t.Errorf("%s: the service is %s, its result %s; systemd gave up %d times", m.Name, active, result, gaveUp)
		}
		if kills < minutes*20 || restarts < kills {
			t.Errorf("%s: %d kills, %d restarts: too few to tell anything", m.Name, kills, restarts)
		}
		if pause > 30*time.Second {
			t.Errorf("%s: not started for %s", m.Name, pause)
		}
	}
	w.figure = fmt.Sprintf("%s; %d of %d packets lost, longest gap %.1f s", strings.Join(figures, "; "), lost, sent, gap.Seconds())
	if lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// cannotStart makes both configurations wrong: the daemons end, and are started
// again and again, with growing pauses.
func (w *world) cannotStart(t *testing.T) {
	s := w.newStream(t, 7000)
	said := w.bothWithin(t, 4*time.Minute, `
file=$(ls /etc/gatelodge/*.toml)
cp -p $file /root/good.toml
echo 'nonsense = 1' >>$file
since=$(cut -d' ' -f1 /proc/uptime)
systemctl kill -s KILL gatelodge
sleep 120
mv /root/good.toml $file
fixed=$(cut -d' ' -f1 /proc/uptime)
until systemctl is-active -q gatelodge; do sleep 0.3; done
active=$(cut -d' ' -f1 /proc/uptime)
systemctl show -P Result gatelodge
journalctl -u gatelodge --no-pager -o short-monotonic | tr -d '[' | awk -v since=$since -v fixed=$fixed -v active=$active '
	/Starting gatelodge.service/ { at = $1 + 0; if (at < since) next; if (n++ && at - last > most) most = at - last; last = at }
	END { print n, most, active - fixed }'`)
	w.visitor(t)
	sent, lost, _ := s.end(t)
	var figures []string
	for _, m := range w.machines() {
		var result string
		var starts int
		var pause, back float64
		if _, err := fmt.Sscan(said[m.Name], &result, &starts, &pause, &back); err != nil {
			t.Fatalf("%s: %q: %v", m.Name, said[m.Name], err)
		}
		figures = append(figures, fmt.Sprintf("%s %d starts, %.1f s apart at most, back %.1f s after it was fixed", m.Name, starts, pause, back))
		// A start itself takes some seconds here.
		if result != "success" || starts < 5 || pause > 35 || back > 40 {
			t.Errorf("%s: result %s, %d starts, at most %.1f s apart, back after %.1f s", m.Name, result, starts, pause, back)
		}
	}
	w.figure = fmt.Sprintf("%s; %d of %d packets lost", strings.Join(figures, "; "), lost, sent)
	if lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// manyTables are the forwards that one push holds, of 30 single ports with both
// protocols each: its 256 KiB bound them, not their number.
const (
	manyTables = 310
	manyPorts  = manyTables * 30 * 2
	manyFirst  = 10001 // and every second one after that
)

// manyForwards publishes as many ports one by one as a home can.
func (w *world) manyForwards(t *testing.T) {
	w.on(t, w.gate, "sed -i 's/^# max_forwards = .*/max_forwards = 512/' /etc/gatelodge/gate.toml; gatelodge apply")
	w.on(t, w.home, `
awk 'BEGIN { p = %d; for (f = 0; f < %d; f++) { printf "\n[forward.many%%d]\nports = [", f; for (i = 0; i < 30; i++) { printf "%%s\"%%d\"", i ? ", " : "", p; p += 2 }; print "]" } }' >>/etc/gatelodge/home.toml
printf '\n[forward.last]\nports = "50001:7000/tcp"\n' >>/etc/gatelodge/home.toml`, manyFirst, manyTables)
	start := time.Now()
	out := w.on(t, w.home, "gatelodge apply 2>&1 | tail -3")
	t.Log(out)
	w.lastForward(t)
	took := time.Since(start)
	peak := w.on(t, w.gate, "awk '{ printf \"%.0f\", $1 / 1048576 }' /sys/fs/cgroup/system.slice/gatelodge.service/memory.peak")
	listed := w.on(t, w.gate, "nft list map inet gatelodge homes4 | grep -oE '(6|17) \\. [0-9]+ :' | wc -l")
	if n, err := strconv.Atoi(listed); err != nil || n < manyPorts {
		t.Errorf("the gate's table has %s ports, not %d", listed, manyPorts)
	}
	w.memory(t)
	w.figure = fmt.Sprintf("%d ports one by one, in force after %.0f s; %s; the gate's service with its nft %s MiB at most", manyPorts, took.Seconds(), w.figure, peak)
}

// lastForward waits until nft has loaded all of them, which takes an emulated
// machine minutes.
func (w *world) lastForward(t *testing.T) {
	t.Helper()
	const limit = 6 * time.Minute
	for begin := time.Now(); time.Since(begin) < limit; time.Sleep(time.Second) {
		if w.visit(t.Context(), gateAt(50001)) == nil {
			return
		}
	}
	t.Fatalf("the last forward does not work within %s", limit)
}

// noMemory limits the gate's daemon to 64 MiB and has the kernel kill it
// when that runs out, again and again.
func (w *world) noMemory(t *testing.T) {
	const kills = 3
	w.on(t, w.gate, "systemctl set-property --runtime gatelodge MemoryMax=64M")
	c := w.connect(t, 7000)
	s := w.newStream(t, 7000)
	var worst time.Duration
	for range kills {
		worst = max(worst, w.killForMemory(t))
		w.visitor(t)
	}
	c.alive(t)
	sent, lost, gap := s.end(t)
	w.figure = fmt.Sprintf("%d kills, back after %.1f s at most; %d of %d packets lost, longest gap %.1f s", kills, worst.Seconds(), lost, sent, gap.Seconds())
	if lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if worst > emulated(2*time.Second) {
		t.Errorf("the daemon was back after %s", worst)
	}
}

// killForMemory leaves the daemon of the gate next to no memory, until the
// kernel kills it, and returns how long systemd and the next one take.
func (w *world) killForMemory(t *testing.T) time.Duration {
	t.Helper()
	took := w.timed(t, w.gate, `
before=$(systemctl show -P MainPID gatelodge)
echo 2M >/sys/fs/cgroup/system.slice/gatelodge.service/memory.max
while [ -e /proc/$before ]; do sleep 0.05; done`, `now=$(systemctl show -P MainPID gatelodge); [ $now != 0 ] && [ $now != $before ] && systemctl is-active -q gatelodge`)
	w.on(t, w.gate, "journalctl -u gatelodge --no-pager | grep -q 'killed by the OOM killer'")
	return took
}

// hog is a program that takes all memory of the gate but 24 MiB, with as many
// forwards as fit, and takes it again when the kernel has killed it.
func (w *world) hog(t *testing.T) {
	s := w.newStream(t, 7000)
	taken := w.on(t, w.gate, `
take=$(awk '/^MemAvailable/ { print int($2 / 1024) - 24 }' /proc/meminfo)
systemd-run --quiet --unit=hog -p Restart=always -p RestartSec=3 /payload/services hog $take
until journalctl -u hog --no-pager | grep -q taken; do sleep 0.5; done
echo $take`)
	for range 20 {
		w.visitor(t)
		time.Sleep(500 * time.Millisecond)
	}
	sent, lost, gap := s.end(t)
	w.on(t, w.gate, "systemctl stop hog; systemctl reset-failed hog 2>/dev/null || true; systemctl is-active gatelodge")
	w.figure = fmt.Sprintf("%s MiB taken; %d of %d packets lost, longest gap %.1f s", taken, lost, sent, gap.Seconds())
	if lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	w.visitor(t)
}

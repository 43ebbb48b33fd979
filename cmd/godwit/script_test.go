package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each process of a -race run lasts a second longer
	testscript.Main(m, map[string]func(){"godwit": main})
}

// TestScript runs the command lines in testdata/script. Beside testscript's own
// commands they have
//
//	start NAME godwit ARG...    runs it in the background
//	await NAME REGEXP [VAR]     waits for a line of its output, from the last one
//	                            awaited on, and sets VAR to the first group
//	signal NAME INT|TERM|KILL
//	finish NAME CODE            waits for its end; -1 is death by a signal
//	code CODE godwit ARG...     runs it in the foreground and wants an exit code
//	same-heads COLLECTION DB DB all records of both have equal heads
//	forge TOKEN none|hs256 FILE writes a token that nobody has issued
//	http-get STATUS URL         prints a page
//	await-metric URL SERIES VALUE
//	harm DB SQL                 runs SQL behind the store's back
//	harm DB page N              overwrites a page
//	certificate NAME [CA]       writes NAME.pem and NAME.key, signed by CA
func TestScript(t *testing.T) {
	countries, err := filepath.Abs("../../examples/offline/countries.json")
	if err != nil {
		t.Fatal(err)
	}
	corpus, err := filepath.Abs("../../crdt/testdata/js")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("COUNTRIES", countries)
			env.Setenv("CORPUS", corpus)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("GODWIT_DB", env.WorkDir+"/a.db")
			env.Values[processesKey{}] = map[string]*process{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": cmdStart, "await": cmdAwait, "signal": cmdSignal, "finish": cmdFinish,
			"code": cmdCode, "same-heads": cmdSameHeads, "forge": cmdForge, "certificate": cmdCertificate,
			"http-get": cmdHTTPGet, "await-metric": cmdAwaitMetric,
			"harm": cmdHarm,
		},
	})
}

// awaitTimeout is how long output may take that is sure to come.
const awaitTimeout = 30 * time.Second

// process is a program in the background whose output can be waited for.
type process struct {
	cmd   *exec.Cmd
	mu    sync.Mutex // guards lines
	lines []string   // not awaited yet, of stdout and stderr
	more  chan struct{}
	done  chan struct{} // closed when it has ended
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, more: make(chan struct{}, 1), done: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout) })
	readers.Go(func() { p.read(stderr) })
	go func() {
		readers.Wait()
		_ = cmd.Wait() // finish looks at the state
		close(p.done)
	}()
	return p, nil
}

func (p *process) read(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
}

// await returns the match of the first line that matches, and forgets the lines
// up to it.
func (p *process) await(re *regexp.Regexp) ([]string, error) {
	timeout := time.After(awaitTimeout)
	for ended := false; ; {
		p.mu.Lock()
		seen := strings.Join(p.lines, "\n")
		for i, line := range p.lines {
			if m := re.FindStringSubmatch(line); m != nil {
				p.lines = p.lines[i+1:]
				p.mu.Unlock()
				return m, nil
			}
		}
		p.mu.Unlock()
		if ended {
			return nil, fmt.Errorf("ended (%v) without a line that matches %q; its lines are\n%s", p.cmd.ProcessState, re, seen)
		}
		select {
		case <-p.more:
		case <-p.done:
			ended = true
		case <-timeout:
			return nil, fmt.Errorf("no line matches %q within %v; its lines are\n%s", re, awaitTimeout, seen)
		}
	}
}

// finish waits for the end and returns the exit code, -1 for death by a signal.
func (p *process) finish() (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(awaitTimeout):
		_ = p.cmd.Process.Kill()
		return 0, fmt.Errorf("did not end within %v", awaitTimeout)
	}
}

// processesKey is where a script keeps its processes, by name.
type processesKey struct{}

func processes(ts *testscript.TestScript) map[string]*process {
	return ts.Value(processesKey{}).(map[string]*process)
}

func background(ts *testscript.TestScript, args []string, n int) *process {
	if len(args) < n {
		ts.Fatalf("want %d arguments", n)
	}
	p, ok := processes(ts)[args[0]]
	if !ok {
		ts.Fatalf("no process %s", args[0])
	}
	return p
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARG...")
	}
	cmd := command(ts, args[1:])
	p, err := startProcess(cmd)
	ts.Check(err)
	processes(ts)[args[0]] = p
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.done
	})
}

// command returns a program with the script's environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "GODWIT_DB="+ts.Getenv("GODWIT_DB"))
	return cmd
}

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	p := background(ts, args, 2)
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	m, err := p.await(re)
	ts.Check(err)
	ts.Logf("%s: %s", args[0], m[0])
	if len(args) == 3 {
		ts.Setenv(args[2], m[1])
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	p := background(ts, args, 2)
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}
	ts.Check(p.cmd.Process.Signal(signals[args[1]]))
}

func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	p := background(ts, args, 2)
	code, err := p.finish()
	ts.Check(err)
	if got := fmt.Sprint(code); got != args[1] {
		ts.Fatalf("%s exited with %s, want %s; its lines are\n%s", args[0], got, args[1], strings.Join(p.lines, "\n"))
	}
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE PROGRAM ARG...")
	}
	got := "0"
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := err.(*exec.ExitError); ok {
		got = fmt.Sprint(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("exited with %s, want %s", got, args[0])
	}
}

func cmdSameHeads(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: same-heads COLLECTION DB DB")
	}
	a, b := ts.MkAbs(args[1]), ts.MkAbs(args[2])
	n, err := sameHeads(args[0], a, b)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s has no records in %s", args[0], a)
	}
	if neg == (err == nil) {
		ts.Fatalf("%d records compared: %v", n, err)
	}
}

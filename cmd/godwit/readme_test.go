package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readmeHub is where the README has the hub listen.
const readmeHub = "127.0.0.1:8765"

// TestREADME follows the README's command lines, from a new folder, and compares
// what they print with what it says they print.
func TestREADME(t *testing.T) {
	commands, want := readmeCommands(t, "On the command line, in a minute", "One conflict, four views")
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")))
	_, addr := hub(t, filepath.Join(dir, "hub"), "127.0.0.1:0")

	script := "set -eu\n"
	for i, c := range commands {
		script += fmt.Sprintf("echo '#%d'\n%s\n", i, strings.ReplaceAll(c, readmeHub, addr))
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s", out, stderr.String())

	var printed [][]string
	for line := range strings.Lines(string(out)) {
		if line == fmt.Sprintf("#%d\n", len(printed)) {
			printed = append(printed, nil)
			continue
		}
		printed[len(printed)-1] = append(printed[len(printed)-1], strings.TrimSuffix(line, "\n"))
	}
	require.Len(t, printed, len(commands))
	names, compared := map[string]string{}, 0
	for i, lines := range want {
		require.Len(t, printed[i], len(lines), "%s prints\n%s", commands[i], strings.Join(printed[i], "\n"))
		for n, line := range lines {
			requireShown(t, names, line, printed[i][n])
			compared++
		}
	}
	require.Equal(t, 9, compared, "lines of output")
	require.Len(t, names, 6, "hashes and replicas")
}

// readmeCommands returns the command lines of the README's sections, but for those
// that install the program and start the hub. Lines that follow a command with a
// prompt are what it prints.
func readmeCommands(t *testing.T, sections ...string) (commands []string, want map[int][]string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	want = map[int][]string{}
	skipped := 0
	for _, name := range sections {
		_, section, ok := strings.Cut(string(readme), "\n## "+name+"\n")
		require.True(t, ok, name)
		section, _, _ = strings.Cut(section, "\n## ")
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
			prompted := strings.HasPrefix(block[1], "$ ")
			for line := range strings.Lines(block[1]) {
				line = strings.TrimSuffix(line, "\n")
				command, isCommand := strings.CutPrefix(line, "$ ")
				switch {
				case line == "":
				case strings.HasPrefix(line, "go install ") || strings.HasPrefix(line, "godwit serve "):
					skipped++
				case prompted && !isCommand:
					want[len(commands)-1] = append(want[len(commands)-1], line)
				default:
					commands = append(commands, command)
				}
			}
		}
	}
	require.Equal(t, 2, skipped)
	return commands, want
}

// shortened is how the README writes what differs from run to run, or is long.
var shortened = regexp.MustCompile(`([0-9a-f]{6})?\.\.\.`)

// requireShown compares a line with the README's. Six digits and dots stand for the
// same hash or replica everywhere; names holds which.
func requireShown(t *testing.T, names map[string]string, readme, printed string) {
	t.Helper()
	var pattern strings.Builder
	var short []string
	end := 0
	for _, m := range shortened.FindAllStringSubmatchIndex(readme, -1) {
		pattern.WriteString(regexp.QuoteMeta(readme[end:m[0]]))
		end = m[1]
		if m[2] < 0 {
			pattern.WriteString(".+")
			continue
		}
		short = append(short, readme[m[2]:m[3]])
		pattern.WriteString("([0-9a-f]{16}|[0-9a-f]{64})")
	}
	pattern.WriteString(regexp.QuoteMeta(readme[end:]))
	got := regexp.MustCompile("^" + pattern.String() + "$").FindStringSubmatch(printed)
	require.NotNil(t, got, "the README says\n%s\nprinted is\n%s", readme, printed)
	for i, s := range short {
		if names[s] == "" {
			names[s] = got[i+1]
		}
		require.Equal(t, names[s], got[i+1], "the README's %s\n%s\n%s", s, readme, printed)
	}
}

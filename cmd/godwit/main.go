// Godwit is a replica on the command line: it puts, gets, imports and exports
// records, hosts spaces for others and exchanges changes with them. Everything
// it does an application can do with package replica; this program only wires.
//
//	export GODWIT_DB=notes.db
//	godwit put notes/1 '{"title":"Tides"}'
//	godwit sync http://localhost:8080/spaces/crew
//	godwit get notes/1
//
// Exit codes: 0 success, 1 an error, 2 wrong usage. Data goes to standard
// output and nothing else does.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line.
type cli struct {
	DB      string           `name:"db" env:"GODWIT_DB" placeholder:"FILE" help:"The replica's file. Commands that write create it."`
	KeyFile string           `name:"key-file" env:"GODWIT_KEY_FILE" placeholder:"FILE" help:"The key of an encrypted replica is in this file; without it, in GODWIT_KEY."`
	JSON    bool             `name:"json" help:"Print JSON where text for people is the default."`
	Version kong.VersionFlag `name:"version" help:"Print the version."`

	Put   putCmd   `cmd:"" group:"Records" help:"Merge a JSON object into a record."`
	Get   getCmd   `cmd:"" group:"Records" help:"Print a record."`
	Rm    rmCmd    `cmd:"" group:"Records" help:"Delete a record."`
	Ls    lsCmd    `cmd:"" group:"Records" help:"List the records of a collection."`
	Query queryCmd `cmd:"" group:"Records" help:"Print what a SELECT over the collections gives."`
	Index indexCmd `cmd:"" group:"Records" help:"Declare indexes and full text, or list the indexes."`
	Head  headCmd  `cmd:"" name:"heads" group:"Records" help:"Print the heads of a record's history."`

	History historyCmd `cmd:"" group:"History" help:"List the changes of a record."`
	Diff    diffCmd    `cmd:"" group:"History" help:"Print what differs between two points in a record's history."`
	Blame   blameCmd   `cmd:"" group:"History" help:"Print who last set each value of a record."`
	Undo    undoCmd    `cmd:"" group:"History" help:"Undo the latest change of this replica."`
	Redo    redoCmd    `cmd:"" group:"History" help:"Take the latest undo back."`
	Revert  revertCmd  `cmd:"" group:"History" help:"Undo one change, whoever made it."`
	Tag     tagCmd     `cmd:"" group:"History" help:"Name a point in a record's history, or list the names."`

	Import importCmd `cmd:"" group:"Files" help:"Read records from a JSON array, NDJSON or CSV."`
	Export exportCmd `cmd:"" group:"Files" help:"Write a record or a collection to standard output."`
	Bundle bundleCmd `cmd:"" group:"Files" help:"Carry changes to another replica in a file."`

	ImportAutomerge importAutomergeCmd `cmd:"" name:"import-automerge" group:"Files" help:"Merge a file that any Automerge saved into a record."`

	Conflicts conflictsCmd `cmd:"" group:"Conflicts" help:"List fields that hold several values at once."`
	Resolve   resolveCmd   `cmd:"" group:"Conflicts" help:"Settle a conflict by your choice."`
	Policy    policyCmd    `cmd:"" group:"Conflicts" help:"Show or set how a collection's conflicts are shown."`

	Constrain  constrainCmd  `cmd:"" group:"Conflicts" help:"Show or declare what should hold of a collection's records."`
	Violations violationsCmd `cmd:"" group:"Conflicts" help:"List where it does not, after merging."`

	Serve   serveCmd   `cmd:"" group:"Exchange" help:"Host spaces for other replicas."`
	Sync    syncCmd    `cmd:"" group:"Exchange" help:"Exchange changes once, until both sides are equal."`
	Connect connectCmd `cmd:"" group:"Exchange" help:"Stay connected and print what arrives."`
	Fetch   fetchCmd   `cmd:"" group:"Exchange" help:"Get one record of another replica."`
	Forget  forgetCmd  `cmd:"" group:"Exchange" help:"Drop the data of records here that a hub holds."`
	Purge   purgeCmd   `cmd:"" group:"Exchange" help:"Remove the data of records for good, from every replica."`
	Verify  verifyCmd  `cmd:"" group:"Exchange" help:"Prove that another replica holds the same, or name what differs."`
	Watch   watchCmd   `cmd:"" group:"Exchange" help:"Print changes as they are committed."`

	Outbox   outboxCmd   `cmd:"" group:"Exchange" help:"List what is not on the peers' disks yet, and why."`
	Abandon  abandonCmd  `cmd:"" group:"Exchange" help:"Give up what peers refused of records."`
	Receipts receiptsCmd `cmd:"" group:"Exchange" help:"Say which replicas have a record on disk."`
	Wait     waitCmd     `cmd:"" group:"Exchange" help:"Wait until the peers have everything on disk."`

	Token tokenCmd `cmd:"" group:"Exchange" help:"Make a token for those who are to be let in, or a key to sign it with."`

	Status statusCmd `cmd:"" group:"Health" help:"Say what the replica holds and what waits for whom."`
	Stats  statsCmd  `cmd:"" group:"Health" help:"Count what the replica holds, and measure what takes up its file."`
	Peers  peersCmd  `cmd:"" group:"Health" help:"List the known peers, and how far each is."`

	Explain explainCmd `cmd:"" group:"Health" help:"Say why a record is not synced, or that it is."`

	Doctor doctorCmd `cmd:"" group:"Health" help:"Check the file, and list what was refused, waits or is forked."`

	Backup backupCmd `cmd:"" group:"Health" help:"Copy the replica's file while it is in use."`

	Compact compactCmd `cmd:"" group:"Health" help:"Store long histories in less space."`

	Encrypt encryptCmd `cmd:"" group:"Encryption" help:"Encrypt the replica's file."`
	Decrypt decryptCmd `cmd:"" group:"Encryption" help:"Store everything as plain text again."`
	Rekey   rekeyCmd   `cmd:"" group:"Encryption" help:"Change the key of an encrypted replica."`

	Plaintext plaintextCmd `cmd:"" group:"Encryption" help:"Say which fields of an encrypted replica may be indexed, or list them."`
}

const about = `An offline-first replica on the command line.

A replica is one SQLite file of records. It is read and written locally, always, and exchanges changes with other
replicas whenever a path to them exists.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	err := dispatch(&env{ctx: ctx, stdin: stdin, stdout: out, stderr: stderr}, args, stdout)
	if flushErr := out.Flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("write output: %w", flushErr)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "godwit: %v\n", err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, `Run "godwit --help", or "godwit COMMAND --help".`)
		return 2
	}
	return 1
}

// dispatch parses the command line and runs the command.
func dispatch(e *env, args []string, stdout io.Writer) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("godwit"), kong.Description(about), kong.Writers(stdout, e.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars{"version": "godwit " + version()})
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		return &usageError{err}
	}
	e.db, e.json, e.key = c.DB, c.JSON, keySource{c.KeyFile, "GODWIT_KEY"}
	return cmd.Run(e)
}

// version is what the module was built as.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

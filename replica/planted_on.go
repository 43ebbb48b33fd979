//go:build plantedbugs

package replica

// planted is the bug that is on, for all replicas of the process. It is set
// while none is open.
var planted = noBug

func bug(p plant) bool { return p == planted }

// Plants returns the names of the bugs that Plant knows.
func Plants() []string {
	return []string{"", "drop a change", "move the cursor without the data", "take what was never sent for held",
		"forget a parked set", "resend from too far", "ignore a resend", "believe a cursor without its chain",
		"apply half a set", "keep what was rolled back", "leave a stored value behind", "pick a wrong winner",
		"lose a wake-up", "reuse an actor", "pass over a range", "leave a print behind", "forget what is missing", "let the clock go back",
		"let a peer drag the clock", "forget what others need", "take a forged actor", "skip an ack", "acknowledge before commit",
		"put a watcher's cursor one too far", "leave a value under an old policy", "undo a purge"}
}

// Plant turns one bug on, by its place in Plants, and the others off.
func Plant(i int) { planted = plant(i) }

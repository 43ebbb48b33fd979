package natslink

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/godwitdb/godwit/transport"
)

// Subjects. Everything of a space is below godwit.v1.SPACE, so that a rule of the
// NATS server can allow a user that space and no other. A dot of a space's name
// would divide the subject: there it reads "=", which no name of a space holds.
const (
	root       = "godwit.v1."
	everySpace = "*"   // to subscribe to all spaces
	noSpace    = "ALL" // what a member of all spaces announces itself on
	hubQueue   = "godwit-hubs"
)

func token(space string) string { return strings.ReplaceAll(space, ".", "=") }

// untoken returns the space of a subject.
func untoken(subject string) (space string, ok bool) {
	rest, ok := strings.CutPrefix(subject, root)
	if !ok {
		return "", false
	}
	name, _, _ := strings.Cut(rest, ".")
	space = strings.ReplaceAll(name, "=", ".")
	return space, transport.ValidSpace(space)
}

func subject(space, what string) string { return root + token(space) + "." + what }

// The subjects of a space:
//
//	who         asks for all members; each answers
//	here        a member says that it is there
//	hub         asks for a session with any hub, one of which is handed it
//	dial.ID     asks for a session with this member
//	conn.ID     what one side of a session is sent
//	sets        change sets, kept by a stream
//	presence    messages about presence, which nothing keeps
func subjectWho(space string) string      { return subject(space, "who") }
func subjectHere(space string) string     { return subject(space, "here") }
func subjectHub(space string) string      { return subject(space, "hub") }
func subjectDial(space, id string) string { return subject(space, "dial."+id) }
func subjectConn(space, id string) string { return subject(space, "conn."+id) }
func subjectSets(space string) string     { return subject(space, "sets") }

// PresenceSubject returns the subject for messages about presence in a space.
func PresenceSubject(space string) string { return subject(space, "presence") }

// StreamName returns the name of the stream that keeps the space's change sets.
func StreamName(space string) string { return "godwit-v1-" + token(space) }

// ParseURL divides nats://[USER:PASSWORD@]HOST[:PORT][,HOST...]/SPACE into what New
// takes and the space; tls, ws and wss are taken too. Its errors repeat no secret.
func ParseURL(raw string) (server, space string, err error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !isScheme(scheme) {
		return "", "", errors.New("parse URL of a space: want nats://HOST[:PORT]/SPACE, or tls, ws or wss")
	}
	hosts, space, _ := strings.Cut(rest, "/")
	if !transport.ValidSpace(space) {
		return "", "", fmt.Errorf("parse URL of a space: %q is no name of one, want nats://HOST/SPACE, SPACE being 1 to 64 of a-z, 0-9 and ._-", space)
	}
	server = scheme + "://" + hosts
	if _, err := parseServers(server); err != nil {
		return "", "", err
	}
	return server, space, nil
}

func isScheme(s string) bool { return s == "nats" || s == "tls" || s == "ws" || s == "wss" }

// parseServers checks the URL of one or several servers, and returns it without
// user and password.
func parseServers(raw string) (name string, err error) {
	scheme, hosts, ok := strings.Cut(raw, "://")
	if !ok || !isScheme(scheme) {
		return "", errors.New("parse URL of a NATS server: want nats://HOST[:PORT], or tls, ws or wss")
	}
	var names []string
	for host := range strings.SplitSeq(hosts, ",") {
		_, after, ok := strings.Cut(host, "://") // of the second and later ones
		if ok {
			host = after
		}
		u, err := url.Parse(scheme + "://" + host)
		if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
			return "", errors.New("parse URL of a NATS server: want nats://HOST[:PORT] and nothing behind it")
		}
		names = append(names, u.Host)
	}
	return scheme + "://" + strings.Join(names, ","), nil
}

package lanlink

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/godwitdb/godwit/crdt"
)

const (
	service    = "_godwit._tcp.local."
	holds      = 60 * time.Second // an announcement, unless it says less
	maxMessage = 9000             // bytes; RFC 6762, section 17
	maxRecords = 64               // of a message that are looked at
)

// announcement is what a message says of one replica.
type announcement struct {
	replica crdt.ReplicaID
	port    uint16
	tag     string
	holds   time.Duration // 0: it takes its leave
}

// tagOf stands for a space and a key, which may be nil.
func tagOf(space string, k *Key) string {
	h := sha256.New()
	h.Write([]byte("godwit lan space 1\x00" + space + "\x00"))
	if k != nil {
		h.Write(k.public())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// question asks who is there.
func question() ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	err := b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET})
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// message announces a replica that is to be reached at some addresses.
func (a *announcement) message(addrs []netip.Addr) ([]byte, error) {
	instance, err := dnsmessage.NewName(a.replica.String() + "." + service)
	if err != nil {
		return nil, err
	}
	host, err := dnsmessage.NewName(a.replica.String() + ".local.")
	if err != nil {
		return nil, err
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true, Authoritative: true})
	b.EnableCompression()
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	header := func(name dnsmessage.Name) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: uint32(a.holds / time.Second)}
	}
	err = b.PTRResource(header(dnsmessage.MustNewName(service)), dnsmessage.PTRResource{PTR: instance})
	if err == nil {
		err = b.SRVResource(header(instance), dnsmessage.SRVResource{Port: a.port, Target: host})
	}
	if err == nil {
		err = b.TXTResource(header(instance), dnsmessage.TXTResource{TXT: []string{"v=1", "space=" + a.tag}})
	}
	for _, addr := range addrs {
		if err == nil {
			err = b.AResource(header(host), dnsmessage.AResource{A: addr.As4()})
		}
	}
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// parse reads a message: whether it asks for replicas, and the one it announces, of
// several the first. ok is false for what is neither.
func parse(msg []byte) (a announcement, asks, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.OpCode != 0 || h.RCode != 0 {
		return a, false, false
	}
	if !h.Response {
		asks = asksForUs(&p)
		return a, asks, asks
	}
	if p.SkipAllQuestions() != nil {
		return a, false, false
	}
	r := reading{p: &p}
	if !r.section(p.AnswerHeader, p.SkipAnswer) || p.SkipAllAuthorities() != nil || !r.section(p.AdditionalHeader, p.SkipAdditional) {
		return a, false, false
	}
	a = r.announcement
	return a, false, r.srv != "" && strings.EqualFold(r.srv, r.txt) && a.port != 0
}

func asksForUs(p *dnsmessage.Parser) bool {
	for range maxRecords {
		q, err := p.Question()
		if err != nil {
			return false
		}
		if (q.Type == dnsmessage.TypePTR || q.Type == dnsmessage.TypeALL) && strings.EqualFold(q.Name.String(), service) {
			return true
		}
	}
	return false
}

// reading gathers the records of one announcement.
type reading struct {
	p *dnsmessage.Parser
	announcement
	srv, txt string // names of the records that were found
	records  int
}

// section reads a section; false when it is damaged or endless.
func (r *reading) section(header func() (dnsmessage.ResourceHeader, error), skip func() error) bool {
	for {
		h, err := header()
		if err == dnsmessage.ErrSectionDone {
			return true
		}
		if r.records++; err != nil || r.records > maxRecords {
			return false
		}
		name := h.Name.String()
		id, ours := replicaOf(name)
		switch {
		case ours && r.srv == "" && h.Type == dnsmessage.TypeSRV:
			body, err := r.p.SRVResource()
			if err != nil {
				return false
			}
			r.srv, r.replica, r.port = name, id, body.Port
			r.holds = min(holds, time.Duration(h.TTL)*time.Second)
		case ours && r.txt == "" && h.Type == dnsmessage.TypeTXT:
			body, err := r.p.TXTResource()
			if err != nil {
				return false
			}
			r.txt, r.tag = name, tagIn(body.TXT)
		default:
			if skip() != nil {
				return false
			}
		}
	}
}

// replicaOf reads the name of an instance.
func replicaOf(name string) (crdt.ReplicaID, bool) {
	const dotted = "." + service
	cut := len(name) - len(dotted)
	if cut <= 0 || !strings.EqualFold(name[cut:], dotted) {
		return crdt.ReplicaID{}, false
	}
	id, err := crdt.ParseReplicaID(strings.ToLower(name[:cut]))
	return id, err == nil
}

// tagIn returns the tag of a TXT record of this version, "" if it is of another.
func tagIn(fields []string) (tag string) {
	known := false
	for _, f := range fields {
		known = known || f == "v=1"
		if v, ok := strings.CutPrefix(f, "space="); ok && tag == "" {
			tag = v
		}
	}
	if !known {
		return ""
	}
	return tag
}

// Package auth says who a peer is and what it may do: it turns a bearer token or
// a client certificate into a transport.Grant for a space. Whoever accepts
// connections asks it (httplink.Authorize), the session enforces the grant. It
// keeps no users and no sessions.
//
//	authority, err := auth.Open(auth.Files{Keys: []string{"issuer.pem"}}, nil)
//	hub := httplink.Handler(&httplink.ServerOptions{Authorize: httplink.Authorize(authority), ...})
//
// # Claims
//
// A token is a JWT (RFC 7519) in its compact form, signed with HS256, RS256
// (RFC 7518) or EdDSA with Ed25519 (RFC 8037). Beside the registered claims it
// has one of its own:
//
//	{"sub": "alice", "exp": 1799999999, "nbf": ..., "iat": ..., "aud": "hub.example",
//	 "godwit": [{"spaces": ["crew", "team-*"],
//	             "read":   ["tasks", "notes/abc"],
//	             "write":  ["tasks"],
//	             "relay":  true,
//	             "admin":  true}]}
//
// sub and exp are required (exp unless Options.NoExpiry), the others are checked
// when present; aud is checked, and then required, if Options.Audience asks for it.
//
// Each element of godwit is a rule. Rules whose spaces match are added up; those
// of one that nothing matches grant nothing there. In spaces a * stands for any
// run of characters. A selector of read and write is
//
//	tasks        a collection
//	notes/abc    the records of a collection whose id begins with abc
//	*/abc        those of every collection
//	*            everything
//
// relay lets the peer bring changes that other replicas authored, admin lets it
// write the reserved collection _godwit. What is left out is not granted. A
// member of a rule that this version lacks refuses the token: it may be a
// restriction.
//
// # Files
//
// A key file holds PEM (PUBLIC KEY, PRIVATE KEY, RSA PRIVATE KEY), a JWK or JWK set
// (RFC 7517), or else it is a secret for HS256 of at least 32 bytes, space around it
// ignored. A token file holds one token, which grants everything, or a JSON array
// of identities: claims as above, and what is shown for them.
//
//	[{"sub": "alice",  "token": "9f1c...", "godwit": [...]},
//	 {"sub": "ben",    "token_sha256": "HEX", "exp": 1799999999, "godwit": [...]},
//	 {"sub": "pump-7", "certificate": "dns:pump-7.example", "godwit": [...]}]
//
// A certificate is named by dns:, uri:, email: (subject alternative names) or cn:
// (the subject's common name); TLS has verified it before this package sees it.
//
// # Decisions
//
// RFC 8725 (JSON Web Token Best Current Practices) is followed to the letter where
// it says MUST:
//
//   - The key says the algorithm, not the token (3.1): a header that names another
//     one finds no key. "none" is none of the three. A PEM file can't become an HMAC
//     secret, nor can DER or an OpenSSH key (2.1).
//   - Weak keys are refused (3.5): RSA below 2048 bits, secrets below 32 bytes.
//   - The signature is verified before a claim is parsed. What comes before that is
//     a header of one level, at most 1 KiB, with no extension that must be understood
//     (crit).
//   - JSON is read strictly, because parsers that disagree are a way around a check:
//     names once, as they are written ("EXP" is not "exp", which encoding/json thinks),
//     UTF-8, at most 16 levels deep. Base64 is strict too: one token, one spelling.
//
// A token has at most 8 KiB. Clocks may differ by Options.Leeway, 30 s unless said
// otherwise; a grant ends that much after the token.
//
// Tokens of a file are found by their SHA-256, so that no comparison of secrets
// takes a time that tells about them.
//
// Errors are *transport.Error: CodeToken when the bearer is not known,
// CodeExpired when it was, CodeAuth when it is, and has no rights in the space.
// The last does not say whether there is such a space. Their messages name
// no secret.
//
// Changed files are read again, at most every Options.Reload; one that can't be
// read leaves what was read before in force.
//
// Verifying a token with Ed25519 takes 1.4 times what its signature alone does, 9 kB
// and 200 allocations, most of them the strict reading of JSON (2026-11-21, go test
// -bench Token ./transport/auth, two busy cores). It happens once for a request.
//
// Mint is for development and tests: an issuer is another program's business.
package auth

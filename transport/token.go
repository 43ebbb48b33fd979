package transport

import "fmt"

// MaxBearer is how many bytes the token in a Token frame may have.
const MaxBearer = 8 << 10

// Token shows a fresh bearer token in place of the one that the connection was
// opened with, before that ends. Whoever accepted the connection verifies it;
// there is no answer unless it is refused, by an Error. A session does not see it.
type Token struct{ Bearer string }

type wireToken struct {
	Bearer string `cbor:"1,keyasint"`
}

// Kind returns KindToken.
func (*Token) Kind() Kind { return KindToken }

func (f *Token) wire() any { return &wireToken{f.Bearer} }

func (f *Token) check() error {
	if f.Bearer == "" {
		return fmt.Errorf("%w: no token", ErrMalformed)
	}
	return checkText("token", f.Bearer, MaxBearer)
}

func (c *Codec) parseToken(body []byte) (Frame, error) {
	var w wireToken
	err := c.unmarshal(body, &w)
	return &Token{w.Bearer}, err
}

package crash

/*
#cgo linux LDFLAGS: -Wl,--unresolved-symbols=ignore-in-object-files
#cgo darwin LDFLAGS: -Wl,-undefined,dynamic_lookup
int registerVFS(void);
*/
import "C"

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	_ "github.com/mattn/go-sqlite3" // brings the SQLite that is linked against
)

// Op is what SQLite is about to do to a file.
type Op int

// The calls that alter a file.
const (
	Create   Op = iota // open it, creating it if there is none
	Write              // Data at Offset
	Truncate           // to Offset bytes
	Sync               // what was written to it is to be on the disk
	Delete             // Offset is 1 if its folder is synced too
)

func (o Op) String() string { return [...]string{"create", "write", "truncate", "sync", "delete"}[o] }

// Call is a call that SQLite is about to make.
type Call struct {
	Op     Op
	Path   string // "" of a temporary file
	Offset int64
	Data   []byte // valid while the call is looked at
}

// Code is a result of SQLite's, which it gets in place of what the call would have given.
type Code int

// Results of calls.
const (
	OK   Code = 0
	Full Code = 13 // SQLITE_FULL
)

// SQLite's list of VFSes is one for the process, and so is what is asked.
var (
	register = sync.OnceValue(func() error {
		if code := C.registerVFS(); code != 0 {
			return fmt.Errorf("register a VFS: SQLite's result %d", code)
		}
		return nil
	})
	asked atomic.Pointer[func(*Call) Code]
)

// Intercept has f called before each call of this process that alters a file, from
// connections that are opened from now on, by any goroutine; nil: nobody. A result
// other than OK is returned to SQLite and the call is not made. f must not use SQLite.
func Intercept(f func(*Call) Code) error {
	if f == nil {
		asked.Store(nil)
		return nil
	}
	asked.Store(&f)
	return register()
}

//export crashAsk
func crashAsk(op C.int, path *C.char, offset C.longlong, data unsafe.Pointer, n C.int) C.int {
	f := asked.Load()
	if f == nil {
		return 0
	}
	c := Call{Op: Op(op), Path: C.GoString(path), Offset: int64(offset)}
	if n > 0 {
		c.Data = unsafe.Slice((*byte)(data), n)
	}
	return C.int((*f)(&c))
}

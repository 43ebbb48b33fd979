// A VFS of SQLite's that asks Go before each call that alters a file, and hands
// everything else to the one below it. See intercept.go.

#include "_cgo_export.h"

#include "vfs.h"

// What stands behind the lower VFS's own file object.
typedef struct {
	const char *path;                    // valid until the file is closed, says xOpen's documentation; NULL: a temporary file
	const struct sqlite3_io_methods *lower;
	struct sqlite3_io_methods methods;   // the lower ones but for those below
} behind;

static sqlite3_vfs asking;
static sqlite3_vfs *lower;

static behind *of(sqlite3_file *f) { return (behind *)((char *)f + lower->szOsFile); }

static int ask(int op, const char *path, sqlite3_int64 offset, const void *data, int n) {
	return crashAsk(op, (char *)path, offset, (void *)data, n);
}

static int writeFile(sqlite3_file *f, const void *data, int n, sqlite3_int64 offset) {
	int code = ask(OP_WRITE, of(f)->path, offset, data, n);
	return code ? code : of(f)->lower->xWrite(f, data, n, offset);
}

static int truncateFile(sqlite3_file *f, sqlite3_int64 size) {
	int code = ask(OP_TRUNCATE, of(f)->path, size, 0, 0);
	return code ? code : of(f)->lower->xTruncate(f, size);
}

static int syncFile(sqlite3_file *f, int flags) {
	int code = ask(OP_SYNC, of(f)->path, 0, 0, 0);
	return code ? code : of(f)->lower->xSync(f, flags);
}

static int openFile(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *outFlags) {
	behind *b = of(f);
	f->pMethods = 0; // for who fails
	if (flags & SQLITE_OPEN_CREATE) {
		int code = ask(OP_CREATE, path, 0, 0, 0);
		if (code)
			return code;
	}
	int code = lower->xOpen(lower, path, f, flags, outFlags);
	if (!f->pMethods)
		return code;
	b->path = path;
	b->lower = f->pMethods;
	b->methods = *b->lower;
	b->methods.xWrite = writeFile;
	b->methods.xTruncate = truncateFile;
	b->methods.xSync = syncFile;
	f->pMethods = &b->methods;
	return code;
}

static int deleteFile(sqlite3_vfs *vfs, const char *path, int syncFolder) {
	int code = ask(OP_DELETE, path, syncFolder, 0, 0);
	return code ? code : lower->xDelete(lower, path, syncFolder);
}

// registerVFS makes it the default one; a result of SQLite's.
int registerVFS(void) {
	int code = sqlite3_initialize();
	if (code)
		return code;
	lower = sqlite3_vfs_find(0);
	asking = *lower;
	asking.zName = "crash";
	asking.szOsFile = lower->szOsFile + sizeof(behind);
	asking.xOpen = openFile;
	asking.xDelete = deleteFile;
	return sqlite3_vfs_register(&asking, 1);
}

// The part of SQLite's interface for VFSes that is needed here, as sqlite.org/c3ref/vfs.html
// and c3ref/io_methods.html have it. The driver's own header is in its module, where cgo
// cannot find it; the layout of these structures cannot change, as extensions rely on it.

typedef long long sqlite3_int64;
typedef struct sqlite3_vfs sqlite3_vfs;
typedef struct sqlite3_file { const struct sqlite3_io_methods *pMethods; } sqlite3_file;

struct sqlite3_io_methods {
	int iVersion;
	int (*xClose)(sqlite3_file *);
	int (*xRead)(sqlite3_file *, void *, int, sqlite3_int64);
	int (*xWrite)(sqlite3_file *, const void *, int, sqlite3_int64);
	int (*xTruncate)(sqlite3_file *, sqlite3_int64);
	int (*xSync)(sqlite3_file *, int);
	void *rest[13]; // xFileSize to xUnfetch
};

struct sqlite3_vfs {
	int iVersion, szOsFile, mxPathname;
	sqlite3_vfs *pNext;
	const char *zName;
	void *pAppData;
	int (*xOpen)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
	int (*xDelete)(sqlite3_vfs *, const char *, int);
	void *rest[14]; // xAccess to xNextSystemCall
};

#define SQLITE_OPEN_CREATE 0x00000004

int sqlite3_initialize(void);
sqlite3_vfs *sqlite3_vfs_find(const char *);
int sqlite3_vfs_register(sqlite3_vfs *, int);

// What crashAsk is asked about: the values of Op.
enum { OP_CREATE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_DELETE };

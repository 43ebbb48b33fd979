// Package crash has processes killed, disks lose power and disks full under replicas.
// It has tests, and what they need: a VFS of SQLite's that asks before each call, and a
// disk that loses what was not synced.
package crash

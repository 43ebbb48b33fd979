// Package sim has tests only.
package sim
